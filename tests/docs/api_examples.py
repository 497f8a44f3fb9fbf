#!/usr/bin/env python3
"""tests/docs/api_examples.py BAILIFFD BAILIFF LANGUAGES DOCUMENT: runs every ```sh block of the API's guide against a server of its own.

An answer with a status of 400 or more fails its block, and so does any other command that fails. What a block needs before it can run (a
running job as $id, a file) is made here; nothing of a block is left out.
"""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

BAILIFFD, BAILIFF, LANGUAGES, DOCUMENT = sys.argv[1:5]
PRELUDE = r"""
set -euo pipefail
curl() { command curl --fail-with-body --max-time 60 "$@"; }
bailiff() { "$BAILIFF" "$@" <<<exit; }  # what somebody types into a shell
# An image to import, where there is no Docker: a root filesystem's tar will do.
docker() { mkdir -p root/bin && cp "$(command -v busybox)" root/bin/sh && tar -C root -c .; }
"""
# The job that $id is, by a word of the block: its request, and the state in which the block finds it.
LEAVING = {"image": "host", "artifacts": ["out/**"], "labels": {"user": "42"},
           "steps": [{"command": "mkdir out; echo hello >out/a.txt"}, {"command": "seq 10000; exit 3"}]}
RUNNING = {"image": "host", "steps": [{"command": "echo begun; sleep 3"}, {"command": "seq 500"}], "limits": {"wall_time_ms": 60000}}
HOOKED = RUNNING | {"webhook": {"url": "https://example.org/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
ASKING = {"image": "host", "steps": [{"command": "read answer"}], "interactive": True}
JOBS = [("attach $id", ASKING, "running"), ("/webhook", HOOKED, "running"), ("artifacts", LEAVING, "finished"), ("/stdout", LEAVING, "finished"),
        ("$id", RUNNING, "running")]


def call(url, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"} | (headers or {}))
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def job_for(url, block):
    for word, request, state in JOBS:
        if "$id" not in block or word not in block:
            continue
        job = call(url, "/v1/jobs", request, {"Prefer": "wait=30"} if state == "finished" else {})
        while call(url, "/v1/jobs/" + job["id"])["state"] != state:
            time.sleep(0.01)
        return job["id"]
    return ""


def run(url, block, directory, key):
    digest = hashlib.sha256((directory / "big.bin").read_bytes()).hexdigest()
    text = re.sub(r"^url=.*$", "", block.replace('{"blob": "sha256:…"}', '{"blob": "sha256:%s"}' % digest), flags=re.M)
    environment = os.environ | {"url": url, "id": job_for(url, block), "BAILIFF": BAILIFF, "BAILIFF_SERVER": url, "BAILIFF_API_KEY": key}
    return subprocess.run(["bash", "-c", PRELUDE + text], cwd=directory, env=environment, timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main():
    document = pathlib.Path(DOCUMENT).read_text()
    blocks = [(document[:match.start()].count("\n") + 1, match.group(1)) for match in re.finditer(r"```sh\n(.*?)```", document, re.S)]
    blocks.sort(key=lambda block: "BAILIFF_API_KEY" in block[1])  # from the first key on the others would need one too
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bailiff-examples-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        (directory / "big.bin").write_bytes(b"1\n" * 500_000)
        for program in ("guess.py", "game.py"):
            (directory / program).write_text("print('hello', input('name? '))\n")
        with open(directory / "log", "wb") as log:
            server = subprocess.Popen([BAILIFFD, "--listen", "127.0.0.1:0", "--data", name + "/data", "--languages", LANGUAGES, "--slots", "2",
                                       "--cgroup-parent", f"bailiff-examples-{os.getpid()}", "--drain-seconds", "1"],
                                      stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                sys.exit("bailiffd does not listen\n" + (directory / "log").read_text())
            url, key = line.split()[-1], ""
            for number, block in blocks:
                if "BAILIFF_API_KEY" in block and not key:
                    key = call(url, "/v1/keys", {"name": "examples", "scopes": ["admin"]})["key"]
                ran = run(url, block, directory, key)
                print(f"{'ok    ' if ran.returncode == 0 else 'FAILED'}  {DOCUMENT}:{number}")
                if ran.returncode != 0:
                    failed += 1
                    print(block + "→ " + ran.stdout)
        finally:
            server.terminate()
            server.wait(60)
    print(f"{len(blocks)} examples, {failed} failed")
    return failed or not blocks


sys.exit(1 if main() else 0)
