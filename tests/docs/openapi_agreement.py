#!/usr/bin/python3
"""tests/docs/openapi_agreement.py BAILIFFD LANGUAGES: the server and its own /openapi.json agree, in both directions.

Every operation is called for every status that the document gives it, but those of NOT_SHOWN, which need a server that is broken or flooded.
A status that is not in the document, a body that is not as its schema says, and a field that no schema has, each fail.
"""
import copy
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse

import jsonschema

BAILIFFD, LANGUAGES = sys.argv[1:3]
NOT_SHOWN = {"500": "ours", "503": "ours, and bounds", "429": "floods (tests/unit/server_access.cpp, server_http_api.cpp)",
             "501": "a host without a freezer", "101": "tests/system/attach.cpp, beside.cpp"}
NOT_SHOWN_OF = {  # too large or too slow to be made here
    ("POST", "/v1/images", "413"), ("POST", "/v1/jobs", "413"), ("POST", "/v1/jobs:batch", "413"), ("POST", "/v1/keys", "413"),
    ("POST", "/v1/images", "409"),  # another import at the same time
    ("POST", "/v1/jobs/{id}:cancel", "202"),  # a cancel that is slow
}
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
NO_JOB = "00000000000000000000000000"
SLEEP = {"image": "host", "steps": [{"command": "sleep 60"}], "limits": {"wall_time_ms": 90000}}


def strict(schema, inside=False):
    """The same schema, in which an object has no other fields than those that it names. Parts of an allOf are judged together."""
    if isinstance(schema, list):
        return [strict(one, inside) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value, inside or key == "allOf") for key, value in schema.items()}
    closed = "additionalProperties" in schema or "unevaluatedProperties" in schema
    if not inside and not closed and (("properties" in schema and isinstance(schema["properties"], dict) and "type" in schema) or "allOf" in schema):
        made["unevaluatedProperties"] = False
    return made


class Server:
    def __init__(self, directory, keys=False):
        log = open(os.path.join(directory, "log"), "ab")
        self.process = subprocess.Popen(
            [BAILIFFD, "--listen", "127.0.0.1:0", "--data", os.path.join(directory, "data"), "--languages", LANGUAGES, "--slots", "2",
             "--cgroup-parent", f"bailiff-openapi-{os.getpid()}", "--drain-seconds", "1", "--max-blob-bytes", "100000"],
            stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit("bailiffd does not listen\n" + open(os.path.join(directory, "log")).read())
        self.address = urllib.parse.urlparse(line.split()[-1]).netloc

    def send(self, method, target, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        given = {"Accept": "*/*"} | (headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection.request(method, target, body, given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheader("Content-Type", "").split(";")[0], content

    def end(self):
        self.process.terminate()
        self.process.wait(60)


class Agreement:
    def __init__(self, server):
        self.server = server
        self.document = json.loads(server.send("GET", "/openapi.json")[2])
        self.strict = copy.deepcopy(self.document)
        self.strict["components"]["schemas"] = {
            name: strict(schema) for name, schema in self.document["components"]["schemas"].items()}
        # A schema that others extend is closed where it is extended.
        for schema in list(self.strict["components"]["schemas"].values()):
            for part in schema.get("allOf", []):
                if "$ref" in part:
                    base = part["$ref"].split("/")[-1]
                    self.strict["components"]["schemas"].setdefault(base + "Base", strict(self.document["components"]["schemas"][base], True))
                    part["$ref"] += "Base"
        self.resolver = jsonschema.RefResolver("", self.strict)
        self.faults, self.shown, self.headers = [], set(), {}

    def operations(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if method != "parameters":
                    yield method.upper(), path, operation

    def call(self, method, path, wanted, values=None, query="", body=None, headers=None):
        """One call of an operation: its answer must be as the document says, with the status that is `wanted`."""
        target = re.sub(r"\{(\w+)\}", lambda part: (values or {}).get(part[1], "0"), path) + query
        status, kind, content = self.server.send(method, target, body, self.headers | (headers or {}))
        where = f"{method} {target} → {status}"
        if status != wanted:
            self.faults.append(f"{where}, not {wanted}: {content[:300]!r}")
        responses = self.document["paths"][path][method.lower()]["responses"]
        response = responses.get(str(status))
        if response is None:
            self.faults.append(f"{where} is not in the document")
            return None
        self.shown.add((method, path, str(status)))
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].split("/")[-1]]
        kinds = response.get("content", {})
        if not content:
            return None
        if kind not in kinds:
            self.faults.append(f"{where} is {kind or 'nothing'}, and the document has {', '.join(kinds) or 'no body'}")
            return None
        if "json" not in kind:
            return content
        lines = content.splitlines() if "ndjson" in kind else [content]
        for line in lines:
            value = json.loads(line)
            validator = jsonschema.Draft202012Validator(strict(kinds[kind]["schema"]), resolver=self.resolver)
            for error in list(validator.iter_errors(value))[:3]:
                self.faults.append(f"{where} at /{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
        return json.loads(lines[-1])

    def report(self):
        missing = [f"{method} {path} {status}" for method, path, operation in self.operations() for status in operation["responses"]
                   if (method, path, status) not in self.shown and status not in NOT_SHOWN and (method, path, status) not in NOT_SHOWN_OF]
        for fault in self.faults + [f"{one} is in the document and was not met" for one in missing]:
            print("FAILED  " + fault)
        print(f"{len(self.shown)} statuses of {len(list(self.operations()))} operations, {len(self.faults) + len(missing)} faults")
        return not self.faults and not missing


def await_state(the, job, state):
    for _ in range(2000):
        if json.loads(the.server.send("GET", f"/v1/jobs/{job}", None, the.headers)[2])["state"] == state:
            return
        time.sleep(0.01)
    sys.exit(f"job {job} is not {state}")


def refusals(the):
    """What every operation of a kind refuses in the same way."""
    for method, path, operation in list(the.operations()):
        responses = operation["responses"]
        body = {} if "requestBody" in operation and "application/json" in operation["requestBody"]["content"] else None
        upgrade = UPGRADE if "101" in responses else {}
        if "406" in responses:
            the.call(method, path, 406, query="?command=x" if path.endswith("exec") else "", body=body, headers={"Accept": "image/png"} | upgrade)
        if "415" in responses:
            the.call(method, path, 415, query="?name=x" if path == "/v1/images" else "", body=b"x", headers={"Content-Type": "text/x-none"})
        if "404" in responses:
            values = {"id": NO_JOB, "n": "0", "path": "x", "hex": "0" * 64, "name": "none"}
            the.call(method, path, 404, values, query="?command=x" if path.endswith("exec") else "", headers=upgrade)
        if "426" in responses:
            job = the.call("POST", "/v1/jobs", 202, body=SLEEP | {"interactive": True})["id"]
            await_state(the, job, "running")
            the.call(method, path, 426, {"id": job}, query="?command=x" if path.endswith("exec") else "")
            the.call(method, path, 400, {"id": job}, query="?rows=0", headers=UPGRADE)
            the.call(method, path, 403, {"id": job}, query="?command=x" if path.endswith("exec") else "",
                     headers=UPGRADE | {"Origin": "http://elsewhere.example"})
            the.call("POST", "/v1/jobs/{id}:cancel", 200, {"id": job}, headers={"Prefer": "wait=20"})


def jobs(the):
    wait = {"Prefer": "wait=30"}
    the.call("POST", "/v1/jobs", 400, body=b"{", headers={"Content-Type": "application/json"})
    the.call("POST", "/v1/jobs", 422, body={"language": "none", "limits": {"memory_bytes": 1}})
    fields = the.document["components"]["schemas"]["JobRequest"]["properties"]
    for field in list(fields) + ["none"]:
        answer = json.loads(the.server.send("POST", "/v1/jobs", {"image": "host", "steps": [{"command": "true"}], field: 7})[2])
        unknown = any(fault["pointer"] == "/" + field and "unknown" in fault["detail"] for fault in answer.get("errors", []))
        if unknown == (field in fields):
            the.faults.append(f"the field {field} of a job request: {answer}")
    hook = {"url": "https://example.org/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    left = {"image": "host", "artifacts": ["out/**"], "labels": {"a": "b"}, "webhook": hook,
            "steps": [{"name": "make", "command": "mkdir out; echo hello | tee out/a.txt; echo warned >&2; sleep 0.6"}, {"command": "exit 3"}]}
    done = the.call("POST", "/v1/jobs", 200, body=left, headers=wait)["id"]
    judged = the.call("POST", "/v1/jobs", 200, headers=wait, body={
        "language": "python", "source": "import sys; print(input()); print('e', file=sys.stderr)", "stop_on_failure": False,
        "tests": [{"stdin": "1", "expected": "1"}, {"stdin": "2", "expected": "3"}]})["id"]
    the.call("POST", "/v1/jobs:batch", 200, body={"jobs": [SLEEP | {"steps": [{"command": "true"}]}, {"language": "none"}]}, headers=wait)
    the.call("POST", "/v1/jobs:batch", 200, body={"jobs": [left, {}]}, headers=wait | {"Accept": "application/x-ndjson"})
    the.call("POST", "/v1/jobs:batch", 400, query="?x=1", body={"jobs": []})
    the.call("POST", "/v1/jobs:batch", 422, body={"jobs": []})
    the.call("GET", "/v1/jobs", 200)
    the.call("GET", "/v1/jobs", 400, query="?state=none")
    the.call("GET", "/v1/jobs/{id}", 200, {"id": done})
    the.call("GET", "/v1/jobs/{id}/request", 200, {"id": done})
    the.call("GET", "/v1/jobs/{id}/webhook", 200, {"id": done})
    the.call("GET", "/v1/jobs/{id}/steps/{n}/usage", 200, {"id": done, "n": "0"})
    events = the.call("GET", "/v1/jobs/{id}/events", 200, {"id": done}, headers={"Accept": "text/event-stream"})
    last = re.findall(rb"^id: (.*)$", events, re.M)[-1].decode()
    the.call("GET", "/v1/jobs/{id}/events", 204, {"id": done}, headers={"Accept": "text/event-stream", "Last-Event-ID": last})
    the.call("GET", "/v1/jobs/{id}/events", 400, {"id": done}, headers={"Accept": "text/event-stream", "Last-Event-ID": "?"})
    for job, part in ((done, "steps"), (judged, "tests")):
        for stream in ("stdout", "stderr"):
            path, values = f"/v1/jobs/{{id}}/{part}/{{n}}/{stream}", {"id": job, "n": "0"}
            ranged(the, path, values)
    the.call("GET", "/v1/jobs/{id}/artifacts", 200, {"id": done})
    the.call("GET", "/v1/jobs/{id}/artifacts", 200, {"id": done}, query="?format=tar")
    the.call("GET", "/v1/jobs/{id}/artifacts", 400, {"id": done}, query="?format=none")
    ranged(the, "/v1/jobs/{id}/artifacts/{path}", {"id": done, "path": "out/a.txt"})
    the.call("DELETE", "/v1/jobs/{id}", 400, {"id": judged}, query="?x=1")

    running = the.call("POST", "/v1/jobs", 202, body=SLEEP)["id"]
    await_state(the, running, "running")
    the.call("GET", "/v1/jobs/{id}/namespaces", 200, {"id": running})
    the.call("GET", "/v1/jobs/{id}/namespaces", 304, {"id": running}, headers={"If-None-Match": "*"})
    the.call("DELETE", "/v1/jobs/{id}", 409, {"id": running})
    for action in ("pause", "resume"):
        the.call("POST", f"/v1/jobs/{{id}}:{action}", 200, {"id": running})
    the.call("GET", "/v1/jobs/{id}/attach", 409, {"id": running}, headers=UPGRADE)
    the.call("POST", "/v1/jobs/{id}:cancel", 200, {"id": running}, headers={"Prefer": "wait=20"})
    for path in ("/v1/jobs/{id}/namespaces", "/v1/jobs/{id}/exec"):
        the.call("GET", path, 409, {"id": running}, query="?command=x" if path.endswith("exec") else "", headers=UPGRADE if path.endswith("exec") else {})
    for action in ("pause", "resume"):
        the.call("POST", f"/v1/jobs/{{id}}:{action}", 409, {"id": running})
    the.call("DELETE", "/v1/jobs/{id}", 204, {"id": running})
    return done


def ranged(the, path, values):
    the.call("GET", path, 200, values)
    the.call("GET", path, 206, values, headers={"Range": "bytes=0-0"})
    the.call("GET", path, 416, values, headers={"Range": "bytes=99999-"})
    the.call("GET", path, 304, values, headers={"If-None-Match": "*"})


def stores(the):
    made = the.call("POST", "/v1/blobs", 201, body=b"content")
    the.call("POST", "/v1/blobs", 200, body=b"content")
    the.call("POST", "/v1/blobs", 413, body=b"x" * 100001)
    the.call("POST", "/v1/blobs", 422, query="?digest=sha256:" + "0" * 64, body=b"y")
    ranged(the, "/v1/blobs/sha256:{hex}", {"hex": made["digest"].split(":")[1]})
    tar = subprocess.run("root=$(mktemp -d) && mkdir $root/bin && cp $(command -v busybox) $root/bin/sh && tar -C $root -c . ; rm -r $root",
                         shell=True, check=True, stdout=subprocess.PIPE).stdout
    the.call("POST", "/v1/images", 201, query="?name=small", body=tar, headers={"Content-Type": "application/x-tar"})
    the.call("POST", "/v1/images", 422, query="?name=bad", body=b"noise", headers={"Content-Type": "application/x-tar"})
    job = the.call("POST", "/v1/jobs", 202, body=SLEEP | {"image": "small"})["id"]
    the.call("DELETE", "/v1/images/{name}", 409, {"name": "small"})
    the.call("POST", "/v1/jobs/{id}:cancel", 200, {"id": job}, headers={"Prefer": "wait=20"})
    the.call("DELETE", "/v1/images/{name}", 204, {"name": "small"})


def reads(the, job):
    for path in ("/v1/languages", "/v1/images", "/v1/system", "/livez", "/readyz", "/metrics", "/openapi.json", "/"):
        the.call("GET", path, 200)
    for method, path, operation in list(the.operations()):
        if method != "GET" or "304" not in operation["responses"] or (method, path, "304") in the.shown:
            continue
        values = {"id": job, "n": "0", "path": "out/a.txt"}
        if "/keys" in path:
            continue  # below
        the.call("GET", path, 304, values, headers={"If-None-Match": "*"})


def access(the):
    """From the first key on each call needs one."""
    the.call("POST", "/v1/keys", 422, body={"name": "x", "scopes": ["none"]})
    the.call("POST", "/v1/keys", 400, body=b"{", headers={"Content-Type": "application/json"})
    the.call("POST", "/v1/keys", 409, body={"name": "first", "scopes": ["read"]})
    admin = the.call("POST", "/v1/keys", 201, body={"name": "admin", "scopes": ["admin"]})["key"]
    for method, path, operation in list(the.operations()):
        if "401" in operation["responses"]:
            the.call(method, path, 401)
    the.headers = {"Authorization": "Bearer " + admin}
    scopes = {"read": ["submit"], "submit": ["read"], "admin": ["submit", "read"]}
    keys = {}
    for scope, others in scopes.items():
        made = the.call("POST", "/v1/keys", 201, body={"name": "not " + scope, "scopes": others})
        keys[scope] = made["key"]
    for method, path, operation in list(the.operations()):
        if "403" not in operation["responses"] or (method, path, "403") in the.shown:
            continue
        for key in keys.values():
            status, _, _ = the.server.send(method, re.sub(r"\{\w+\}", "0", path), None, {"Authorization": "Bearer " + key})
            if status == 403:
                the.call(method, path, 403, headers={"Authorization": "Bearer " + key})
                break
    listed = the.call("GET", "/v1/keys", 200)
    the.call("GET", "/v1/keys", 304, headers={"If-None-Match": "*"})
    the.call("GET", "/v1/keys/self", 200)
    the.call("GET", "/v1/keys/self", 304, headers={"If-None-Match": "*"})
    by_name = {key["name"]: key["id"] for key in listed["items"]}
    the.call("DELETE", "/v1/keys/{id}", 204, {"id": by_name["not read"]})
    the.call("DELETE", "/v1/keys/{id}", 409, {"id": by_name["admin"]})


def main():
    with tempfile.TemporaryDirectory(prefix="bailiff-openapi-") as directory:
        os.chmod(directory, 0o755)
        server = Server(directory)
        try:
            the = Agreement(server)
            refusals(the)
            job = jobs(the)
            stores(the)
            reads(the, job)
            access(the)
        finally:
            server.end()
    return the.report()


sys.exit(0 if main() else 1)
