// The API through a real socket: every route, its statuses and header fields.
#include <gtest/gtest.h>

#include "server/api.h"
#include "server/openapi.h"
#include "server_http_fixture.h"

namespace bailiff::server {
namespace {

using testing::Answer;
using testing::RawClient;

class HttpApi : public testing::HttpServerTest {
 protected:
  HttpApi() { start(); }
  std::string create(const std::string& more = "") {
    const auto answer = post(std::string(R"({"language": "cpp", "source": "int main(){}")") + more + "}");
    EXPECT_EQ(answer.status, 202) << answer.body;
    return answer.json()["id"];
  }
};

TEST_F(HttpApi, CreateAnswers202WithLocation) {
  const auto answer = post(kJob);
  ASSERT_EQ(answer.status, 202) << answer.body;
  const auto job = answer.json();
  EXPECT_EQ(answer.headers.at("location"), "/v1/jobs/" + job["id"].get<std::string>());
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  EXPECT_EQ(job["state"], "queued");
  EXPECT_EQ(job["language"], "cpp");
  EXPECT_EQ(job["image"], "host");
  EXPECT_EQ(job["verdict"], nullptr);
  const auto read = ask("GET", answer.headers.at("location"));
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(read.json(), job);
}

TEST_F(HttpApi, CreateWithWait) {
  on_loop([&] { jobs.finish_at_once = true; });
  const auto done = post(kJob, "Prefer: wait=10\r\n");
  EXPECT_EQ(done.status, 200);
  EXPECT_EQ(done.headers.at("preference-applied"), "wait=10");
  EXPECT_EQ(done.json()["verdict"], "ok");
  EXPECT_EQ(done.json()["steps"][0]["stdout"], "hello\n");
  on_loop([&] { jobs.finish_at_once = false; });
  const auto late = post(kJob, "Prefer: wait=1\r\n");
  EXPECT_EQ(late.status, 202);
  EXPECT_EQ(late.json()["state"], "queued");
}

TEST_F(HttpApi, ReadWithWaitIsAnsweredWhenTheJobEnds) {
  const auto id = create();
  RawClient client(port);
  client.send(request("GET", "/v1/jobs/" + id, "Prefer: wait=60\r\n"));
  ASSERT_TRUE(reaches([&] { return jobs.waiters == 1; }));
  on_loop([&] { jobs.end(id, core::Verdict::runtime_error, std::string("\xff\0", 2)); });
  const auto answer = client.read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.json()["verdict"], "runtime_error");
  EXPECT_EQ(answer.json()["steps"][0]["stdout"]["base64"], "/wA=");
}

TEST_F(HttpApi, IdempotencyKey) {
  const auto first = post(kJob, "Idempotency-Key: k1\r\n"), again = post(kJob, "Idempotency-Key: k1\r\n");
  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(again.status, 202);
  EXPECT_EQ(first.json()["id"], again.json()["id"]);
  EXPECT_EQ(store.size(), 1U);
  const auto other = post(R"({"language": "python", "source": ""})", "Idempotency-Key: k1\r\n");
  EXPECT_EQ(other.status, 422);
  EXPECT_EQ(other.headers.at("content-type"), "application/problem+json");
  EXPECT_EQ(post(kJob, "Idempotency-Key: " + std::string(256, 'k') + "\r\n").status, 400);
  EXPECT_EQ(post(kJob, "Idempotency-Key:\r\n").status, 400);
}

TEST_F(HttpApi, FaultyBodies) {
  const auto malformed = post("{\"language\": }");
  EXPECT_EQ(malformed.status, 400);
  EXPECT_EQ(malformed.headers.at("content-type"), "application/problem+json");
  EXPECT_NE(malformed.json()["detail"].get<std::string>().find("line 1, column 14"), std::string::npos) << malformed.body;
  EXPECT_EQ(post("").status, 400);
  const auto faulty = post(R"({"language": "cpp", "source": 1, "source": 2, "sauce": 3})");
  EXPECT_EQ(faulty.status, 422);
  EXPECT_EQ(faulty.json()["errors"].size(), 3U) << faulty.body;
  EXPECT_EQ(faulty.json()["title"], "Unprocessable Content");
  const auto duplicate = post(R"({"language": "cpp", "source": "", "source": ""})");
  EXPECT_EQ(duplicate.status, 422);
  EXPECT_EQ(duplicate.json()["errors"][0]["pointer"], "/source");
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(HttpApi, AnUploadIsRefusedByItsHead) {
  const auto status = [&](const std::string& target, const std::string& more = "") {
    RawClient client(port);
    client.send("POST " + target + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 1000000000\r\n" + more +
                "\r\n");
    return client.read().status;
  };
  EXPECT_EQ(status("/v1/images?name=host"), 422);
  EXPECT_EQ(status("/v1/images?name=..%2Fx"), 422);
  EXPECT_EQ(status("/v1/images"), 422);
  EXPECT_EQ(status("/v1/images?name=a&name=b"), 422);
  EXPECT_EQ(status("/v1/images?name=x", "Content-Encoding: gzip\r\n"), 415);
  EXPECT_EQ(status("/v1/images?name=x"), 503) << "this server has no images to change";
}

TEST_F(HttpApi, MediaTypes) {
  EXPECT_EQ(ask("POST", "/v1/jobs", "Content-Type: application/x-www-form-urlencoded\r\n", kJob).status, 415);
  EXPECT_EQ(ask("POST", "/v1/jobs", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", kJob).status, 415);
  EXPECT_EQ(ask("POST", "/v1/jobs", "", kJob).status, 202);
  EXPECT_EQ(ask("GET", "/v1/languages", "Accept: text/html\r\n").status, 406);
  // What a page of another site can make a browser send.
  for (const char* type : {"", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n",
                           "Content-Type: multipart/form-data; boundary=x\r\n"})
    EXPECT_EQ(ask("POST", "/v1/images?name=x", type, "x").status, 415) << type;
  EXPECT_EQ(ask("GET", "/v1/languages", "Accept: text/html, */*;q=0.1\r\n").status, 200);
}

TEST_F(HttpApi, RefusalsOfSubmit) {
  using core::ErrorKind;
  on_loop([&] { jobs.refusal = core::Error{ErrorKind::unavailable, "disk /var/lib/secret is full", 28}; });
  const auto busy = post(kJob);
  EXPECT_EQ(busy.status, 503);
  EXPECT_TRUE(busy.headers.contains("retry-after"));
  EXPECT_EQ(busy.body.find("secret"), std::string::npos);
  on_loop([&] { jobs.refusal = core::Error{ErrorKind::internal, "INSERT INTO secret", 0}; });
  const auto failed = post(kJob);
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.body.find("INSERT"), std::string::npos);
}

TEST_F(HttpApi, UnknownPathsAndMethods) {
  for (const char* path : {"/nothing", "/v1/jobs/", "/v1/jobs/0000000000000000000000000x/steps", "/v1/blob"})
    EXPECT_EQ(ask("GET", path).status, 404) << path;
  EXPECT_EQ(ask("GET", "/v1/jobs/nope").status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/..%2f..%2fetc").status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/00000000000000000000000099").status, 404);
  EXPECT_EQ(ask("POST", "/v1/jobs/00000000000000000000000099:cancel").status, 404);
  EXPECT_EQ(ask("GET", "/%zz").status, 400);
  const auto answer = ask("DELETE", "/v1/jobs");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers.at("allow"), "POST, GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("BREW", "/livez").status, 405);
  EXPECT_EQ(ask("TRACE", "/livez").status, 405);
}

TEST_F(HttpApi, HeadAndOptionsEverywhere) {
  const auto id = create();
  on_loop([&] { jobs.end(id, core::Verdict::ok, "0123456789"); });
  for (const std::string& path : {std::string("/"), std::string("/livez"), std::string("/readyz"), std::string("/openapi.json"),
                                  std::string("/v1/system"), std::string("/v1/images"), std::string("/v1/languages"),
                                  std::string("/v1/jobs"), "/v1/jobs/" + id, "/v1/jobs/" + id + "/steps/0/stdout"}) {
    const auto get = ask("GET", path);
    EXPECT_EQ(get.status, 200) << path;
    RawClient client(port);
    client.send(request("HEAD", path) + request("GET", "/livez"));
    auto head = client.read(true);
    EXPECT_EQ(head.status, 200) << path;
    EXPECT_EQ(head.headers["content-length"], get.headers.at("content-length")) << path;
    EXPECT_EQ(head.headers["etag"], get.headers.at("etag")) << path;
    EXPECT_EQ(client.read().json()["status"], "ok") << path;  // so HEAD sent no body
    const auto options = ask("OPTIONS", path);
    EXPECT_EQ(options.status, 204) << path;
    EXPECT_NE(options.headers.at("allow").find("GET, HEAD"), std::string::npos) << path;
  }
  EXPECT_EQ(ask("OPTIONS", "*").status, 204);
  EXPECT_EQ(ask("OPTIONS", "/v1/jobs/" + id + ":cancel").headers.at("allow"), "POST, OPTIONS");
}

TEST_F(HttpApi, EntityTags) {
  const auto id = create();
  const auto first = ask("GET", "/v1/jobs/" + id);
  const auto tag = first.headers.at("etag");
  const auto same = ask("GET", "/v1/jobs/" + id, "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.headers.at("etag"), tag);
  EXPECT_FALSE(same.headers.contains("content-length"));
  on_loop([&] { jobs.end(id, core::Verdict::ok, ""); });
  const auto changed = ask("GET", "/v1/jobs/" + id, "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(changed.status, 200);
  EXPECT_NE(changed.headers.at("etag"), tag);
}

TEST_F(HttpApi, Cancel) {
  const auto id = create();
  const auto path = "/v1/jobs/" + id + ":cancel";
  const auto first = ask("POST", path), again = ask("POST", path, "Content-Type: text/plain\r\n", "whatever");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.json()["verdict"], "cancelled");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.json()["verdict"], "cancelled");
}

TEST_F(HttpApi, PauseAndResume) {
  const auto id = create();
  const auto path = "/v1/jobs/" + id;
  EXPECT_EQ(ask("GET", path).json()["paused"], false);
  for (const char* action : {":pause", ":resume"}) {
    const auto queued = ask("POST", path + action);
    EXPECT_EQ(queued.status, 409);
    EXPECT_EQ(queued.json()["title"], "Conflict");
    EXPECT_EQ(ask("POST", std::string("/v1/jobs/00000000000000000000000099") + action).status, 404);
    EXPECT_EQ(ask("POST", std::string("/v1/jobs/nope") + action).status, 404);
    EXPECT_EQ(ask("GET", path + action).status, 405);
  }
  on_loop([&] {
    auto job = *store.get(id);
    job.state = core::JobState::running;
    store.put(std::move(job));
  });
  for (const auto& [action, paused] :
       {std::pair(":pause", true), {":pause", true}, {":resume", false}, {":resume", false}, {":pause", true}}) {
    const auto answer = ask("POST", path + action);
    EXPECT_EQ(answer.status, 200) << action;
    EXPECT_EQ(answer.json()["paused"], paused);
    EXPECT_EQ(answer.json()["state"], "running");
    EXPECT_EQ(ask("GET", path).json()["paused"], paused);
    EXPECT_EQ(ask("GET", "/v1/jobs").json()["items"][0]["paused"], paused);
  }
  on_loop([&] { jobs.end(id, core::Verdict::ok, ""); });
  EXPECT_EQ(ask("GET", path).json()["paused"], false);
  EXPECT_EQ(ask("POST", path + ":resume").status, 409);
}

TEST_F(HttpApi, ListPagesAndFilters) {
  std::vector<std::string> ids;
  for (int i = 0; i < 25; ++i) ids.push_back(create(i % 2 == 0 ? R"(,"labels":{"user":"a","k":"v:w"})" : ""));
  on_loop([&] { jobs.end(ids[3], core::Verdict::ok, "out"); });
  std::vector<std::string> seen;
  std::string cursor;
  for (int pages = 0; pages < 4; ++pages) {
    const auto page = ask("GET", "/v1/jobs?limit=10" + (cursor.empty() ? "" : "&cursor=" + cursor)).json();
    for (const auto& item : page["items"]) seen.push_back(item["id"]);
    if (page["next_cursor"].is_null()) break;
    cursor = page["next_cursor"];
  }
  std::ranges::reverse(seen);
  EXPECT_EQ(seen, ids);
  const auto count = [&](const std::string& query) { return ask("GET", "/v1/jobs?" + query).json()["items"].size(); };
  EXPECT_EQ(count("label=user:a&limit=200"), 13U);
  EXPECT_EQ(count("label=user:a&label=k:v%3Aw"), 13U);
  EXPECT_EQ(count("label=user:b"), 0U);
  EXPECT_EQ(count("state=finished"), 1U);
  EXPECT_EQ(count("verdict=ok"), 1U);
  EXPECT_EQ(count("limit=25"), 25U);
  EXPECT_EQ(ask("GET", "/v1/jobs?limit=25").json()["next_cursor"], nullptr);
  EXPECT_FALSE(ask("GET", "/v1/jobs?verdict=ok").json()["items"][0]["steps"][0].contains("stdout"));
}

TEST_F(HttpApi, ListRefusesFaultyQueries) {
  for (const char* query : {"state=x", "verdict=x", "label=x", "label=:x", "limit=0", "limit=201", "limit=1x", "limit=", "cursor=..", "x=1",
                            "label=a:1&label=a:2"}) {
    const auto answer = ask("GET", std::string("/v1/jobs?") + query);
    EXPECT_EQ(answer.status, 400) << query;
    EXPECT_EQ(answer.json()["errors"].size(), 1U) << query;
  }
}

TEST_F(HttpApi, OutputOfAFinishedStep) {
  const auto id = create();
  std::string bytes(700'001, 'x');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  on_loop([&] { jobs.end(id, core::Verdict::ok, bytes); });
  const auto path = "/v1/jobs/" + id + "/steps/0/stdout";
  const auto whole = ask("GET", path);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.headers.at("content-type"), "application/octet-stream");
  EXPECT_EQ(whole.headers.at("accept-ranges"), "bytes");
  EXPECT_TRUE(whole.body == bytes);
  const auto part = ask("GET", path, "Range: bytes=262143-600000\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.headers.at("content-range"), "bytes 262143-600000/700001");
  EXPECT_TRUE(part.body == bytes.substr(262143, 600000 - 262143 + 1));
  const auto suffix = ask("GET", path, "Range: bytes=-5\r\n");
  EXPECT_EQ(suffix.status, 206);
  EXPECT_EQ(suffix.body, bytes.substr(bytes.size() - 5));
  const auto beyond = ask("GET", path, "Range: bytes=700001-\r\n");
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(beyond.headers.at("content-range"), "bytes */700001");
  EXPECT_EQ(ask("GET", path, "Range: bytes=0-1,3-4\r\n").status, 200);
  EXPECT_EQ(ask("GET", path, "If-None-Match: " + whole.headers.at("etag") + "\r\n").status, 304);
  EXPECT_EQ(ask("GET", path, "Range: bytes=0-0\r\nIf-Range: " + whole.headers.at("etag") + "\r\n").status, 206);
  EXPECT_EQ(ask("GET", path, "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").status, 200);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/steps/0/stderr").body, "");
  for (const char* other :
       {"/steps/1/stdout", "/tests/0/stdout", "/steps/00/stdout", "/steps/-1/stdout", "/steps/x/stdout", "/steps/99999999999/stdout"})
    EXPECT_EQ(ask("GET", "/v1/jobs/" + id + other).status, 404) << other;
}

TEST_F(HttpApi, AJobIsKeptWithItsTrace) {
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const auto made = post(kJob, "traceparent: " + trace + "\r\n").json();
  EXPECT_EQ(made["traceparent"], trace);
  EXPECT_TRUE(post(kJob, "traceparent: 00-malformed\r\n").json()["traceparent"].is_null());
  EXPECT_TRUE(post(kJob).json()["traceparent"].is_null());
  EXPECT_FALSE(ask("GET", "/v1/jobs/" + made["id"].get<std::string>() + "/request").json().contains("traceparent"));
}

TEST_F(HttpApi, UseOfAStepOverItsTime) {
  const auto id = create();
  const auto path = "/v1/jobs/" + id + "/steps/0/usage";
  EXPECT_EQ(ask("GET", path).status, 404) << "queued";
  const core::UsageSample first{250'000, 125'000, 4096, 2}, second{500'000, 250'500, 8192, 1};
  on_loop([&] {
    Progress progress;
    progress.steps.push_back({"run", {}, false});
    jobs.running[id] = progress;
    RunningSandbox running;
    running.part.index = 1;  // in the plan: one that did not run is before it
    running.inspection.samples = {first};
    jobs.running_sandbox = running;
  });
  const nlohmann::json one = {{"wall_time_ms", 250.0}, {"cpu_time_ms", 125.0}, {"memory_bytes", 4096}, {"processes", 2}};
  EXPECT_EQ(ask("GET", path).json(), nlohmann::json({{"samples", {one}}}));
  on_loop([&] {
    core::JobResult result;
    core::StepResult step;
    step.outcome.samples = {first, second};
    result.steps.push_back(step);
    jobs.end_with(id, std::move(result));
  });
  const auto document = ask("GET", path).json();
  ASSERT_EQ(document["samples"].size(), 2U);
  EXPECT_EQ(document["samples"][0], one);
  EXPECT_EQ(document["samples"][1]["cpu_time_ms"], 250.5);
  EXPECT_FALSE(ask("GET", "/v1/jobs/" + id).json()["steps"][0].contains("samples")) << "not in the job's own document";
  for (const char* other : {"/steps/1/usage", "/steps/x/usage", "/tests/0/usage"})
    EXPECT_EQ(ask("GET", "/v1/jobs/" + id + other).status, 404) << other;
}

TEST_F(HttpApi, OutputOfATest) {
  const auto id = create();
  on_loop([&] {
    core::JobResult result;
    core::TestResult test;
    test.stderr_bytes = "warning";
    result.tests.push_back(test);
    jobs.end_with(id, std::move(result));
  });
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/tests/0/stderr").body, "warning");
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/tests/0/stdout").body, "");
}

TEST_F(HttpApi, OutputWhileItRuns) {
  const auto id = create();
  const auto path = "/v1/jobs/" + id + "/steps/0/stdout";
  EXPECT_EQ(ask("GET", path).status, 404);
  on_loop([&] { jobs.live = ""; });
  EXPECT_EQ(ask("GET", path).status, 200);
  on_loop([&] { jobs.live = "line 1\n"; });
  const auto first = ask("GET", path);
  EXPECT_EQ(first.body, "line 1\n");
  on_loop([&] { jobs.live = "line 1\nline 2\n"; });
  const auto rest = ask("GET", path, "Range: bytes=7-\r\n");
  EXPECT_EQ(rest.status, 206);
  EXPECT_EQ(rest.body, "line 2\n");
  EXPECT_NE(rest.headers.at("etag"), first.headers.at("etag"));
}

TEST_F(HttpApi, About) {
  const auto languages = ask("GET", "/v1/languages").json();
  EXPECT_EQ(languages["items"].size(), 2U);
  EXPECT_EQ(languages["items"][0]["aliases"][0], "c++");
  EXPECT_EQ(languages["items"][0]["limits"]["memory_bytes"], 268435456);
  EXPECT_EQ(ask("GET", "/v1/images").json()["items"][0]["digest"], "sha256:0123");
  const auto system = ask("GET", "/v1/system").json();
  EXPECT_EQ(system["cgroup"], (core::Json{{"version", "1"}, {"driver", "systemd"}}));
  EXPECT_EQ(system["slots"].size(), 3U);
  EXPECT_EQ(system["slots"][2]["state"], "dead");
  EXPECT_EQ(system["queue"]["bound"], 1000);
  EXPECT_EQ(ask("GET", "/readyz").status, 200);
  on_loop([&] { jobs.is_ready = false; });
  EXPECT_EQ(ask("GET", "/readyz").status, 503);
  EXPECT_EQ(ask("GET", "/livez").status, 200);
  EXPECT_EQ(ask("GET", "/openapi.json").body, openapi_document());
}

TEST_F(HttpApi, MetricsTellHowThingsStand) {
  create();
  EXPECT_EQ(ask("GET", "/v1/jobs/nothing").status, 404);
  const auto answer = ask("GET", "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer.headers.at("cache-control"), "no-store");
  for (const char* line : {"bailiff_ready 1\n", "bailiff_jobs{state=\"queued\"} 1\n", "bailiff_slots{state=\"dead\"} 1\n",
                           "bailiff_http_responses_total{status=\"202\"} 1\n", "bailiff_http_responses_total{status=\"404\"} 1\n"})
    EXPECT_NE(answer.body.find(line), std::string::npos) << line << answer.body;
  EXPECT_EQ(answer.body.find("bailiff_queue_oldest_seconds 0\n"), std::string::npos) << answer.body;
  EXPECT_EQ(ask("GET", "/metrics", "Accept: application/json\r\n").status, 406);
}

TEST_F(HttpApi, RequestOfAJob) {
  const auto id = create(R"(, "stdin": "1 2\n", "limits": {"cpu_time_ms": 500}, "labels": {"user": "42"})");
  const auto answer = ask("GET", "/v1/jobs/" + id + "/request");
  EXPECT_EQ(answer.status, 200);
  const auto request = answer.json();
  EXPECT_EQ(request["language"], "cpp");
  EXPECT_EQ(request["source"], "int main(){}");
  EXPECT_EQ(request["stdin"], "1 2\n");
  EXPECT_EQ(request["limits"], nlohmann::json::parse(R"({"cpu_time_ms": 500})"));
  EXPECT_EQ(request["labels"]["user"], "42");
  EXPECT_EQ(post(answer.body).status, 202) << "it can be sent again as it is";
  EXPECT_EQ(ask("GET", "/v1/jobs/" + std::string(26, '0') + "/request").status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/x/request").status, 404);
}

TEST_F(HttpApi, WebhookOfAJob) {
  const std::string secret = "a secret of twenty-four bytes";
  const auto id = create(R"(, "webhook": {"url": "https://Example.org/hook?a=b", "secret": ")" + secret + "\"}");
  const auto at = "/v1/jobs/" + id + "/webhook";
  EXPECT_EQ(ask("GET", at).json(), nlohmann::json::parse(R"({"url": "https://Example.org/hook?a=b", "state": "pending", "attempts": 0,
    "last_attempt_at": null, "last_status": null, "last_error": null, "next_attempt_at": null})"));
  EXPECT_EQ(store.webhook(id)->webhook.origin, "https://example.org");
  auto stored = *store.webhook(id);
  stored.attempts = 2;
  stored.attempted_us = 1'767'225'600'000'000;
  stored.due_us = 1'767'225'605'000'000;
  stored.last_status = 500;
  stored.last_error = "the receiver answered 500";
  store.put_webhook(id, stored);
  EXPECT_EQ(ask("GET", at).json(), nlohmann::json::parse(R"({"url": "https://Example.org/hook?a=b", "state": "pending", "attempts": 2,
    "last_attempt_at": "2026-01-01T00:00:00.000000Z", "last_status": 500, "last_error": "the receiver answered 500",
    "next_attempt_at": "2026-01-01T00:00:05.000000Z"})"));
  for (const auto& path : {at, "/v1/jobs/" + id, "/v1/jobs/" + id + "/request", std::string("/v1/jobs"), std::string("/metrics")})
    EXPECT_EQ(ask("GET", path).body.find(secret), std::string::npos) << path;
  EXPECT_FALSE(ask("GET", "/v1/jobs/" + id + "/request").json().contains("webhook"));

  const auto none = ask("GET", "/v1/jobs/" + create() + "/webhook");
  EXPECT_EQ(none.status, 404);
  EXPECT_EQ(none.json()["detail"], "this job has no webhook");
  EXPECT_EQ(ask("GET", "/v1/jobs/" + std::string(26, '0') + "/webhook").json()["detail"], "no job has this id");
  EXPECT_EQ(ask("GET", "/v1/jobs/x/webhook").status, 404);
  EXPECT_NE(ask("GET", "/metrics").body.find("bailiff_webhooks_pending 7\n"), std::string::npos);
}

TEST_F(HttpApi, WebhooksOfABatch) {
  const auto answer =
      ask("POST", "/v1/jobs:batch", "Content-Type: application/json\r\n",
          R"({"jobs": [{"language": "cpp", "source": "", "webhook": {"url": "https://example.org", "secret": "0123456789012345678901234"}},
                                       {"language": "cpp", "source": "", "webhook": {"url": "https://10.0.0.1", "secret": "0123456789012345678901234"}}]})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto items = answer.json()["items"];
  EXPECT_EQ(items[0]["status"], 202);
  EXPECT_TRUE(store.webhook(items[0]["job"]["id"]));
  EXPECT_EQ(items[1]["status"], 422);
  EXPECT_EQ(items[1]["problem"]["errors"][0]["pointer"], "/webhook/url");
}

TEST_F(HttpApi, StorageFaultsAreNotShown) {
  const auto id = create();
  store.fail_with(core::Error{core::ErrorKind::internal, "SELECT secret FROM /var/lib/x", 5});
  const auto answer = ask("GET", "/v1/jobs/" + id);
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body.find("SELECT"), std::string::npos);
  store.fail_with(std::nullopt);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id).status, 200);
}

class HttpQueueBound : public testing::HttpServerTest {};

TEST_F(HttpQueueBound, AFullQueueIs429) {
  start({}, 1);
  EXPECT_EQ(post(kJob).status, 202);
  on_loop([&] { jobs.refusal = core::Error{core::ErrorKind::unavailable, "queue full", 0}; });
  const auto full = post(kJob);
  EXPECT_EQ(full.status, 429);
  EXPECT_TRUE(full.headers.contains("retry-after"));
}

TEST(OpenApi, DescribesExactlyTheRoutes) {
  boost::asio::io_context io;
  testing::FakeStore store;
  testing::FakeJobs jobs(io, store);
  const HttpBounds bounds;
  Metrics metrics;
  FairShare shares;
  Access access(store, shares);
  const Api api(ApiContext{jobs, store, testing::test_catalogue(), metrics, access}, bounds);
  std::set<std::string> routes, documented;
  for (const auto& route : api.router().routes()) {
    auto pattern = route.pattern;
    if (pattern.ends_with("*}")) pattern.replace(pattern.size() - 2, 2, "}");
    routes.insert(route.method + " " + pattern);
  }
  const auto document = nlohmann::json::parse(openapi_document());
  EXPECT_EQ(document["openapi"], "3.1.0");
  for (const auto& [path, item] : document["paths"].items())
    for (const auto& [method, operation] : item.items()) {
      std::string upper = method;
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      documented.insert(upper + " " + path);
    }
  EXPECT_EQ(documented, routes);
}

TEST(OpenApi, NamesTheLimitsAndVerdictsOfCore) {
  const auto schemas = nlohmann::json::parse(openapi_document())["components"]["schemas"];
  std::set<std::string> limits, documented;
  for (const auto& field : core::kLimitFields) limits.insert(field.name);
  for (const auto& [name, schema] : schemas["Limits"]["properties"].items()) documented.insert(name);
  EXPECT_EQ(documented, limits);
  EXPECT_EQ(schemas["Verdict"]["enum"], nlohmann::json(core::kVerdictNames));
  EXPECT_EQ(schemas["WebhookDelivery"]["properties"]["state"]["enum"], nlohmann::json(storage::kWebhookStateNames));
  EXPECT_EQ(schemas["State"]["enum"], nlohmann::json(core::kJobStateNames));
}

}  // namespace
}  // namespace bailiff::server
