// API keys over HTTP: who gets in, what each scope may, whose jobs there are.
#include <gtest/gtest.h>

#include "server/api.h"
#include "server_http_fixture.h"
#include "server_websocket_client.h"

namespace bailiff::server {
namespace {

using std::chrono::seconds;
using testing::Answer;

std::string bearer(const std::string& text) { return "Authorization: Bearer " + text + "\r\n"; }

class AccessTest : public testing::HttpServerTest {
 protected:
  std::string add(storage::KeyScopes scopes, std::string* id = nullptr) {
    auto made = storage::make_access_key();
    made->key.scopes = scopes;
    made->key.name = "test";
    if (id != nullptr) *id = made->key.id;
    store.kept_keys.push_back(made->key);
    return made->text;
  }
  void begin() {
    admin_ = add({false, false, true}, &admin_id_);
    alice_ = add({true, true, false}, &alice_id_);
    bob_ = add({true, true, false}, &bob_id_);
    reader_ = add({false, true, false});
    submitter_ = add({true, false, false});
    start();
  }
  Answer get(const std::string& path, const std::string& key) { return ask("GET", path, bearer(key)); }
  Answer create(const std::string& key) { return post(kJob, bearer(key)); }
  Answer make_key(const std::string& body, const std::string& headers = "") {
    return ask("POST", "/v1/keys", "Content-Type: application/json\r\n" + headers, body);
  }
  static constexpr const char* kAdmin = R"({"name": "root", "scopes": ["admin"]})";
  std::string admin_, alice_, bob_, reader_, submitter_, admin_id_, alice_id_, bob_id_;
};

TEST_F(AccessTest, WithoutKeysEverybodyMayDoEverything) {
  start();
  EXPECT_EQ(post(kJob).status, 202);
  EXPECT_EQ(ask("GET", "/v1/keys").json()["items"].size(), 0U);
  EXPECT_EQ(ask("GET", "/v1/keys/self").json(), (nlohmann::json{{"keys", false}, {"key", nullptr}}));
  EXPECT_EQ(ask("GET", "/v1/system", bearer("whatever")).status, 200);
}

TEST_F(AccessTest, FromTheFirstKeyOnEachCallNeedsOne) {
  start();
  EXPECT_EQ(make_key(R"({"name": "x", "scopes": ["submit", "read"]})").status, 409) << "nobody could make another";
  const auto made = make_key(kAdmin);
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.headers.at("cache-control"), "no-store");
  const std::string key = made.json()["key"];
  const auto refused = ask("GET", "/v1/jobs");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("www-authenticate"), R"(Bearer realm="bailiff")");
  EXPECT_EQ(get("/v1/jobs", key).status, 200);
  EXPECT_EQ(make_key(kAdmin).status, 401);
  EXPECT_EQ(ask("DELETE", "/v1/keys/" + made.json()["id"].get<std::string>(), bearer(key)).status, 409) << "it is the last";
}

TEST_F(AccessTest, EachCallHasItsScope) {
  begin();
  struct Row {
    const char *method, *target;
    int submitter, reader, both;  // statuses; the administrator gets what `both` gets, or what is behind a 403
  };
  const Row rows[] = {
      {"GET", "/v1/jobs", 403, 200, 200},
      {"GET", "/v1/system", 403, 200, 200},
      {"GET", "/v1/languages", 403, 200, 200},
      {"GET", "/v1/images", 403, 200, 200},
      {"GET", "/metrics", 403, 200, 200},
      {"GET", "/v1/keys/self", 403, 200, 200},
      {"GET", "/v1/keys", 403, 403, 403},
      {"POST", "/v1/keys", 403, 403, 403},
      {"DELETE", "/v1/keys/0", 403, 403, 403},
      {"POST", "/v1/jobs", 400, 403, 400},
      {"POST", "/v1/jobs:batch", 400, 403, 400},
      {"POST", "/v1/jobs/0:cancel", 404, 403, 404},
      {"POST", "/v1/jobs/0:pause", 404, 403, 404},
      {"DELETE", "/v1/jobs/0", 404, 403, 404},
      {"GET", "/v1/jobs/0", 403, 404, 404},
      {"GET", "/v1/jobs/0/events", 403, 404, 404},
      {"GET", "/v1/jobs/0/request", 403, 404, 404},
      {"GET", "/v1/jobs/0/namespaces", 403, 404, 404},
      {"GET", "/v1/jobs/0/steps/0/stdout", 403, 404, 404},
      {"GET", "/v1/jobs/0/exec?command=sh", 403, 403, 403},
      {"GET", "/v1/jobs/0/attach", 404, 403, 404},
      {"GET", "/v1/jobs/0/steps/0/usage", 403, 404, 404},
      {"POST", "/v1/images", 403, 403, 403},
      {"DELETE", "/v1/images/x", 403, 403, 403},
      {"GET", "/v1/jobs/0/artifacts", 403, 404, 404},
      {"GET", "/v1/jobs/0/artifacts/a/b", 403, 404, 404},
      {"GET", "/v1/jobs/0/webhook", 403, 404, 404},
      {"POST", "/v1/blobs", 503, 403, 503},
      {"GET", "/v1/blobs/sha256:0", 403, 404, 404},
      {"GET", "/livez", 200, 200, 200},
      {"GET", "/readyz", 200, 200, 200},
      {"GET", "/openapi.json", 200, 200, 200},
      {"GET", "/", 200, 200, 200},
  };
  for (const auto& [method, target, submitter, reader, both] : rows) {
    EXPECT_EQ(ask(method, target, bearer(submitter_)).status, submitter) << method << " " << target;
    EXPECT_EQ(ask(method, target, bearer(reader_)).status, reader) << method << " " << target;
    EXPECT_EQ(ask(method, target, bearer(alice_)).status, both) << method << " " << target;
    const auto admin = ask(method, target, bearer(admin_)).status;
    EXPECT_TRUE(both == 403 ? admin != 403 && admin != 401 : admin == both) << method << " " << target << " " << admin;
    const auto nobody = ask(method, target).status;
    EXPECT_EQ(nobody, submitter == 200 ? 200 : 401) << method << " " << target;
  }
}

// A route that is added and forgets its scope is an administrator's; one that is open to all is here by name.
TEST_F(AccessTest, OnlyTheseAreOpenToAll) {
  start();
  std::set<std::string> open;
  const HttpBounds bounds;
  const Api api(ApiContext{jobs, store, testing::test_catalogue(), metrics, access}, bounds);
  for (const auto& route : api.router().routes())
    if (route.scope == Scope::none) open.insert(route.method + " " + route.pattern);
  EXPECT_EQ(open, (std::set<std::string>{"GET /", "GET /livez", "GET /readyz", "GET /openapi.json"}));
}

TEST_F(AccessTest, AKeySeesItsOwnJobsAlone) {
  begin();
  const std::string of_alice = create(alice_).json()["id"], of_bob = create(bob_).json()["id"];
  const auto ids = [&](const std::string& key) {
    std::set<std::string> found;
    const auto page = get("/v1/jobs", key).json();
    for (const auto& item : page["items"]) found.insert(item["id"]);
    return found;
  };
  EXPECT_EQ(ids(alice_), std::set<std::string>{of_alice});
  EXPECT_EQ(ids(bob_), std::set<std::string>{of_bob});
  EXPECT_EQ(ids(admin_), (std::set<std::string>{of_alice, of_bob}));
  EXPECT_EQ(get("/v1/jobs/" + of_alice, alice_).json()["owner"], alice_id_);
  const auto missing = get("/v1/jobs/00000000000000000000009999", bob_);
  const std::string job = "/v1/jobs/" + of_alice;
  for (const auto& [method, target] : std::vector<std::pair<std::string, std::string>>{{"GET", job},
                                                                                       {"HEAD", job},
                                                                                       {"GET", job + "/events"},
                                                                                       {"GET", job + "/request"},
                                                                                       {"GET", job + "/namespaces"},
                                                                                       {"GET", job + "/steps/0/stdout"},
                                                                                       {"GET", job + "/tests/0/stderr"},
                                                                                       {"POST", job + ":cancel"},
                                                                                       {"POST", job + ":pause"},
                                                                                       {"POST", job + ":resume"},
                                                                                       {"DELETE", job}}) {
    const auto answer = ask(method, target, bearer(bob_));
    EXPECT_EQ(answer.status, 404) << method << " " << target;
    if (method != "HEAD") {
      EXPECT_EQ(answer.body, missing.body) << "what is another's must look like what is not there";
    }
  }
  EXPECT_EQ(get(job, admin_).status, 200);
  EXPECT_EQ(ask("POST", job + ":cancel", bearer(admin_)).json()["verdict"], "cancelled");
}

TEST_F(AccessTest, SlotsNameTheJobsThatTheCallerSees) {
  begin();
  const std::string id = create(alice_).json()["id"];
  EXPECT_EQ(get("/v1/system", alice_).json()["slots"][1]["job"], id);
  EXPECT_EQ(get("/v1/system", bob_).json()["slots"][1], (nlohmann::json{{"index", 1}, {"state", "busy"}, {"job", nullptr}}));
  EXPECT_EQ(get("/v1/system", admin_).json()["slots"][1]["job"], id);
}

TEST_F(AccessTest, ABatchIsItsOwners) {
  begin();
  const auto answer =
      ask("POST", "/v1/jobs:batch", "Content-Type: application/json\r\n" + bearer(alice_), std::string(R"({"jobs": [)") + kJob + "]}");
  EXPECT_EQ(answer.json()["items"][0]["job"]["owner"], alice_id_);
}

TEST_F(AccessTest, AFullShareIs429) {
  begin();
  struct Row {
    Quota quota;
    int status;
    std::string detail;
  };
  for (const auto& row : {Row{Quota::queued_jobs, 429, "jobs queued"}, Row{Quota::stored_bytes, 429, "bytes stored"},
                          Row{Quota::cpu_time, 429, "CPU time"}, Row{Quota::unknown, 503, "cannot do this now"}}) {
    on_loop([&] {
      jobs.quota = row.quota;
      jobs.refusal = core::Error{core::ErrorKind::unavailable, "full", 0};
    });
    const auto answer = create(alice_);
    EXPECT_EQ(answer.status, row.status);
    EXPECT_NE(answer.json()["detail"].get<std::string>().find(row.detail), std::string::npos) << answer.body;
    EXPECT_TRUE(answer.headers.contains("retry-after"));
  }
}

TEST_F(AccessTest, ARevokedKeyIsOut) {
  begin();
  EXPECT_EQ(get("/v1/jobs", alice_).status, 200);
  EXPECT_EQ(ask("DELETE", "/v1/keys/" + alice_id_, bearer(admin_)).status, 204);
  EXPECT_EQ(ask("DELETE", "/v1/keys/" + alice_id_, bearer(admin_)).status, 204);
  EXPECT_EQ(get("/v1/jobs", alice_).status, 401);
  EXPECT_EQ(ask("DELETE", "/v1/keys/nobody", bearer(admin_)).status, 404);
  EXPECT_EQ(ask("DELETE", "/v1/keys/" + admin_id_, bearer(admin_)).status, 409);
  std::map<std::string, bool> revoked;
  const auto page = get("/v1/keys", admin_).json();
  for (const auto& item : page["items"]) revoked[item["id"]] = !item["revoked_at"].is_null();
  EXPECT_EQ(revoked.size(), 5U);
  EXPECT_TRUE(revoked[alice_id_]);
  EXPECT_FALSE(revoked[bob_id_]);
}

TEST_F(AccessTest, AKeyThatTheDiskRefusedIsNone) {
  begin();
  store.key_fault = core::Error{core::ErrorKind::unavailable, "disk full in /var/lib/secret", 0};
  const auto answer = make_key(kAdmin, bearer(admin_));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.body.find("secret"), std::string::npos);
  EXPECT_EQ(ask("DELETE", "/v1/keys/" + alice_id_, bearer(admin_)).status, 503);
  EXPECT_EQ(get("/v1/jobs", alice_).status, 200) << "it is revoked when that is written";
  EXPECT_EQ(get("/v1/keys", admin_).json()["items"].size(), 5U);
}

TEST_F(AccessTest, WhatAKeyMayBeIsSaid) {
  begin();
  const auto made = make_key(
      R"({"name": "ci", "scopes": ["submit"], "weight": 5, "max_queued_jobs": 7, "max_running_jobs": null, "max_cpu_ms_per_hour": 9})",
      bearer(admin_));
  ASSERT_EQ(made.status, 201) << made.body;
  const auto key = made.json();
  EXPECT_EQ(key["name"], "ci");
  EXPECT_EQ(key["scopes"], nlohmann::json{"submit"});
  EXPECT_EQ(key["weight"], 5);
  EXPECT_EQ(key["max_queued_jobs"], 7);
  EXPECT_EQ(key["max_cpu_ms_per_hour"], 9);
  EXPECT_EQ(key["max_stored_bytes"], nullptr);
  EXPECT_EQ(key["stored_bytes"], 0);
  EXPECT_EQ(key["cpu_ms_this_hour"], 0);
  EXPECT_EQ(key["max_running_jobs"], nullptr);
  EXPECT_FALSE(get("/v1/keys", admin_).body.find(key["key"].get<std::string>()) != std::string::npos) << "told once";
  struct Row {
    const char *body, *pointer;
  };
  for (const auto& [body, pointer] :
       {Row{R"({"scopes": ["read"]})", "/name"}, Row{R"({"name": "x"})", "/scopes"}, Row{R"({"name": "x", "scopes": []})", "/scopes"},
        Row{R"({"name": "x", "scopes": ["root"]})", "/scopes/0"}, Row{R"({"name": "x", "scopes": ["read"], "weight": 0})", "/weight"},
        Row{R"({"name": "x", "scopes": ["read"], "weight": 1001})", "/weight"},
        Row{R"({"name": "x", "scopes": ["read"], "max_queued_jobs": -1})", "/max_queued_jobs"},
        Row{R"({"name": "x", "scopes": ["read"], "max_stored_bytes": 0})", "/max_stored_bytes"},
        Row{R"({"name": "x", "scopes": ["read"], "id": "mine"})", "/id"},
        Row{R"({"name": "x", "name": "y", "scopes": ["read"]})", "/name"}}) {
    const auto refused = make_key(body, bearer(admin_));
    EXPECT_EQ(refused.status, 422) << body;
    EXPECT_EQ(refused.json()["errors"][0]["pointer"], pointer) << body << refused.body;
  }
}

TEST_F(AccessTest, GuessesAreBoundedAndARightKeyAlwaysPasses) {
  begin();
  auto wrong = alice_;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  for (unsigned i = 0; i < FailedAttempts::kMost; ++i) EXPECT_EQ(get("/v1/jobs", wrong).status, 401);
  const auto answer = get("/v1/jobs", wrong);
  EXPECT_EQ(answer.status, 429);
  EXPECT_TRUE(answer.headers.contains("retry-after"));
  EXPECT_EQ(get("/v1/jobs", alice_).status, 200);
}

TEST_F(AccessTest, WhatIsNoKeyIsRefused) {
  begin();
  for (const auto& text :
       {std::string("Authorization: Basic ") + alice_, std::string("Authorization: ") + alice_, std::string("Authorization: Bearer"),
        "Authorization: Bearer " + alice_ + ", Bearer " + bob_, "Cookie: key=" + alice_, "Sec-WebSocket-Protocol: bailiff.key." + alice_})
    EXPECT_EQ(ask("GET", "/v1/jobs", text + "\r\n").status, 401) << text;
  EXPECT_EQ(ask("GET", "/v1/jobs?key=" + alice_).status, 401) << "an address is written to logs";
  EXPECT_EQ(ask("GET", "/v1/jobs", "Authorization: bearer  " + alice_ + "\r\n").status, 200);
}

std::string protocols(std::string key) {
  auto text = core::base64_encode(key);
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  while (text.ends_with('=')) text.pop_back();
  return "Sec-WebSocket-Protocol: bailiff, bailiff.key." + text + "\r\n";
}

// A browser has no other way to show a key with a WebSocket, and it gives up where none of its protocols is taken.
TEST_F(AccessTest, AWebSocketMayCarryItsKeyInAProtocol) {
  begin();
  const std::string id = create(alice_).json()["id"];
  on_loop([&] {
    auto job = *store.get(id);
    job.state = core::JobState::running;
    store.put(job);
  });
  const std::string target = "/v1/jobs/" + id + "/exec?command=sh";
  const auto open = [&](const std::string& headers) {
    testing::WebSocketClient client(port);
    return client.open(target, headers);
  };
  EXPECT_EQ(open("").status, 401);
  EXPECT_EQ(open(protocols(alice_ + "0")).status, 401);
  EXPECT_EQ(open(protocols(alice_)).status, 403) << "a shell needs an administrator";
  const auto opened = open(protocols(admin_));
  EXPECT_EQ(opened.status, 101);
  EXPECT_EQ(opened.headers.at("sec-websocket-protocol"), "bailiff");
  EXPECT_FALSE(open(bearer(admin_)).headers.contains("sec-websocket-protocol"));
  EXPECT_EQ(ask("GET", "/v1/jobs", protocols(admin_)).status, 401) << "only of a WebSocket";
}

TEST_F(AccessTest, AWrongKeyIsToldBeforeTheBody) {
  begin();
  testing::RawClient client(port);
  client.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
}

TEST(FailedAttemptsTest, CountsByNetworkAndForgets) {
  FailedAttempts attempts;
  const auto start = FailedAttempts::Clock::now();
  for (unsigned i = 0; i < FailedAttempts::kMost; ++i) EXPECT_TRUE(attempts.note("2001:db8::" + std::to_string(i + 1), start));
  EXPECT_FALSE(attempts.note("2001:db8::ffff", start));
  EXPECT_TRUE(attempts.note("2001:db8:0:1::1", start));
  EXPECT_TRUE(attempts.note("192.0.2.1", start));
  EXPECT_FALSE(attempts.note("2001:db8::1", start + FailedAttempts::kWindow));
  EXPECT_TRUE(attempts.note("2001:db8::1", start + FailedAttempts::kWindow + seconds(1)));
  for (std::size_t i = 0; i < 2 * FailedAttempts::kMostAddresses; ++i) EXPECT_TRUE(attempts.note(std::to_string(i), start));
}

}  // namespace
}  // namespace bailiff::server
