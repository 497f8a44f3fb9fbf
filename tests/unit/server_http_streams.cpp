// Answers that come piece by piece: the lines of a batch, the events of a job.
#include <gtest/gtest.h>

#include <fstream>

#include "server/job_events.h"
#include "server_http_fixture.h"

namespace bailiff::server {
namespace {

using nlohmann::json;
using testing::RawClient;

/// The data of the next chunk; empty: the last one, or the connection ended.
std::string next_chunk(RawClient& client) {
  std::string size;
  while (!size.ends_with("\r\n")) {
    const auto byte = client.take(1);
    if (!byte) return "";
    size += *byte;
  }
  const auto length = std::stoul(size, nullptr, 16);
  auto data = client.take(length + 2);
  if (!data) return "";
  data->resize(length);
  return *data;
}

struct Event {
  std::string id, event;
  json data;
};
Event event_of(const std::string& text) {
  Event event;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("id: ")) event.id = line.substr(4);
    if (line.starts_with("event: ")) event.event = line.substr(7);
    if (line.starts_with("data: ")) event.data = json::parse(line.substr(6));
  }
  return event;
}

class HttpStreams : public testing::HttpServerTest {
 protected:
  HttpStreams() {
    HttpBounds bounds;
    bounds.batch_jobs = 4;
    bounds.event_pulse_time = std::chrono::milliseconds(50);
    start(bounds);
  }
  testing::Answer batch(const std::string& body, const std::string& headers = "") { return ask("POST", "/v1/jobs:batch", headers, body); }
  static std::string lines_of(const std::string& jobs, const std::string& headers = "") {
    return request("POST", "/v1/jobs:batch", "Accept: application/x-ndjson\r\n" + headers, "{\"jobs\": [" + jobs + "]}");
  }
  /// A job of one running step.
  std::string running_job(std::string printed) {
    const std::string id = post(kJob).json()["id"];
    on_loop([&] {
      jobs.running[id] = Progress{1, {{"run", std::nullopt}}};
      jobs.live = std::move(printed);
      auto stored = store.get(id);
      stored->state = core::JobState::running;
      stored->attempt = 1;
      stored->started_us = 1;
      store.put(*stored);
    });
    return id;
  }
  void print(const std::string& id, const std::string& text) {
    on_loop([&] {
      *jobs.live += text;
      jobs.watches.tell(id, false);
    });
  }
  void end(const std::string& id) {
    on_loop([&] {
      auto text = *jobs.live;
      jobs.end(id, core::Verdict::ok, text);
      jobs.live.reset();
    });
  }
  RawClient events(const std::string& id, const std::string& last = "") {
    RawClient client(port);
    client.send(request("GET", "/v1/jobs/" + id + "/events", last.empty() ? "" : "Last-Event-ID: " + last + "\r\n"));
    return client;
  }
  static Event next_event(RawClient& client) {
    std::string text = next_chunk(client);
    while (text.starts_with(":")) text = next_chunk(client);
    return event_of(text);
  }
  static std::vector<Event> all_events(RawClient& client) {
    std::vector<Event> all;
    for (Event event = next_event(client); !event.event.empty(); event = next_event(client)) all.push_back(event);
    return all;
  }
};

TEST_F(HttpStreams, ABatchAnswersEachJobInItsPlace) {
  const auto answer =
      batch(std::string("{\"jobs\": [") + kJob + R"(, {"language": "no"}, {"language": "cpp", "source": "", "source": ""}, )" +
            R"({"language": "python", "source": "", "labels": {"n": "4"}}]})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto items = answer.json()["items"];
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[0]["status"], 202);
  EXPECT_EQ(items[0]["job"]["state"], "queued");
  EXPECT_EQ(items[1]["status"], 422);
  EXPECT_EQ(items[1]["problem"]["errors"][0]["pointer"], "/language");
  EXPECT_EQ(items[2]["status"], 422);
  EXPECT_EQ(items[2]["problem"]["errors"][0]["pointer"], "/source");
  EXPECT_EQ(items[3]["job"]["labels"]["n"], "4");
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(on_loop([&] { return jobs.transactions; }), 1);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + items[3]["job"]["id"].get<std::string>()).json()["language"], "python");
}

TEST_F(HttpStreams, FaultsOfABatchAsAWhole) {
  EXPECT_EQ(batch("{").status, 400);
  EXPECT_EQ(batch("[]").status, 422);
  EXPECT_EQ(batch(R"({"jobs": []})").status, 422);
  EXPECT_EQ(batch(R"({"jobs": {}})").status, 422);
  const auto unknown = batch(R"({"jobs": 1, "job": 2})");
  EXPECT_EQ(unknown.status, 422);
  EXPECT_EQ(unknown.json()["errors"].size(), 2U) << unknown.body;
  std::string many = "{\"jobs\": [";
  for (int i = 0; i < 5; ++i) many += std::string(i > 0 ? "," : "") + kJob;
  const auto too_many = batch(many + "]}");
  EXPECT_EQ(too_many.status, 422);
  EXPECT_EQ(too_many.json()["errors"][0]["pointer"], "/jobs");
  EXPECT_NE(too_many.json()["errors"][0]["detail"].get<std::string>().find("4"), std::string::npos);
  EXPECT_EQ(batch(std::string("{\"jobs\": [") + kJob + "], \"jobs\": []}").status, 422);
  EXPECT_EQ(ask("POST", "/v1/jobs:batch", "Accept: text/html\r\n", "{}").status, 406);
  EXPECT_EQ(ask("GET", "/v1/jobs:batch").status, 405);
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(HttpStreams, ABatchFillsTheQueueJobByJob) {
  on_loop([&] { jobs.queue_room = 1; });
  const auto items = batch(std::string("{\"jobs\": [") + kJob + "," + kJob + "]}").json()["items"];
  EXPECT_EQ(items[0]["status"], 202);
  EXPECT_EQ(items[1]["status"], 429);
  EXPECT_EQ(store.size(), 1U);
}

TEST_F(HttpStreams, ABatchWithAKeyIsMadeOnce) {
  const std::string body = std::string("{\"jobs\": [") + kJob + "," + kJob + "]}";
  const auto first = batch(body, "Idempotency-Key: b\r\n").json()["items"], again = batch(body, "Idempotency-Key: b\r\n").json()["items"];
  EXPECT_EQ(first[0]["job"]["id"], again[0]["job"]["id"]);
  EXPECT_EQ(first[1]["job"]["id"], again[1]["job"]["id"]);
  EXPECT_NE(first[0]["job"]["id"], first[1]["job"]["id"]);
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(batch(std::string("{\"jobs\": [") + kJob + "]}", "Idempotency-Key: b\r\n").status, 422);
  EXPECT_EQ(post(kJob, "Idempotency-Key: b\r\n").status, 202) << "a key of a batch is not one of a job";
}

TEST_F(HttpStreams, ABatchCanBeWaitedFor) {
  const std::string body = std::string("{\"jobs\": [") + kJob + R"(, {"language": "no"}, )" + kJob + "]}";
  RawClient client(port);
  client.send(request("POST", "/v1/jobs:batch", "Prefer: wait=60\r\n", body));
  ASSERT_TRUE(reaches([&] { return jobs.transactions == 1; }));
  std::vector<std::string> ids;
  const auto listed = ask("GET", "/v1/jobs").json();
  for (const auto& item : listed["items"]) ids.insert(ids.begin(), item["id"]);
  ASSERT_EQ(ids.size(), 2U);
  for (const auto& id : ids) on_loop([&] { jobs.end(id, core::Verdict::ok, "out of " + id); });
  const auto answer = client.read();
  EXPECT_EQ(answer.headers.at("preference-applied"), "wait=60");
  const auto items = answer.json()["items"];
  ASSERT_EQ(items.size(), 3U) << answer.body;
  EXPECT_EQ(items[0]["status"], 200);
  EXPECT_EQ(items[0]["job"]["steps"][0]["stdout"], "out of " + ids[0]);
  EXPECT_EQ(items[1]["status"], 422);
  EXPECT_EQ(items[2]["job"]["steps"][0]["stdout"], "out of " + ids[1]);
  const auto late = batch(std::string("{\"jobs\": [") + kJob + "]}", "Prefer: wait=1\r\n").json()["items"];
  EXPECT_EQ(late[0]["status"], 202);
  EXPECT_EQ(late[0]["job"]["state"], "queued");
}

TEST_F(HttpStreams, LinesComeAsJobsEnd) {
  RawClient client(port);
  client.send(lines_of(std::string(kJob) + ", {}, " + kJob + ", " + kJob, "Prefer: wait=60\r\n"));
  const auto head = client.read();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-type"), "application/x-ndjson");
  EXPECT_EQ(head.headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(head.headers.at("preference-applied"), "wait=60");
  const auto refused = json::parse(next_chunk(client));
  EXPECT_EQ(refused["index"], 1);
  EXPECT_EQ(refused["status"], 422);
  const std::string ids[] = {"00000000000000000000000003", "00000000000000000000000001", "00000000000000000000000002"};
  const int places[] = {3, 0, 2};
  for (int i = 0; i < 3; ++i) {
    on_loop([&] { jobs.end(ids[i], core::Verdict::ok, "out"); });
    const auto line = json::parse(next_chunk(client));
    EXPECT_EQ(line["index"], places[i]);
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line["job"]["steps"][0]["stdout"], "out");
  }
  EXPECT_EQ(next_chunk(client), "");
  client.send(request("GET", "/livez"));
  EXPECT_EQ(client.read().status, 200) << "the connection goes on";
}

TEST_F(HttpStreams, LinesOfUnfinishedJobsComeWhenTheWaitIsOver) {
  for (const std::string wait : {"", "Prefer: wait=1\r\n"}) {
    RawClient client(port);
    client.send(lines_of(kJob, wait));
    client.read();
    const auto line = json::parse(next_chunk(client));
    EXPECT_EQ(line["status"], 202);
    EXPECT_EQ(line["job"]["state"], "queued");
    EXPECT_EQ(next_chunk(client), "");
  }
}

TEST_F(HttpStreams, AnOldClientReadsAStreamToTheEndOfTheConnection) {
  const auto id = running_job("x");
  end(id);
  RawClient client(port);
  client.send("GET /v1/jobs/" + id + "/events HTTP/1.0\r\n\r\n");
  const auto head = client.read();
  EXPECT_EQ(head.status, 200);
  EXPECT_FALSE(head.headers.contains("transfer-encoding"));
  EXPECT_EQ(head.headers.at("connection"), "close");
  EXPECT_TRUE(client.take(4).has_value());
}

TEST_F(HttpStreams, EventsTellWhatHappensAsItHappens) {
  const auto id = running_job("hel");
  auto client = events(id);
  const auto head = client.read();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-type"), "text/event-stream");
  auto event = next_event(client);
  EXPECT_EQ(event.event, "state");
  EXPECT_EQ(event.data["state"], "running");
  EXPECT_EQ(event.data["attempt"], 1);
  event = next_event(client);
  EXPECT_EQ(event.event, "step");
  EXPECT_EQ(event.data["name"], "run");
  EXPECT_EQ(event.data["state"], "running");
  event = next_event(client);
  EXPECT_EQ(event.event, "stdout");
  EXPECT_EQ(event.data["data"], "hel");
  EXPECT_TRUE(reaches([&] { return jobs.output_questions > 0; }));
  print(id, "lo\n\xc3");
  EXPECT_EQ(next_event(client).data["data"], "lo\n") << "half a character waits for its other half";
  on_loop([&] {
    jobs.running[id].paused = true;
    jobs.watches.tell(id, false);
  });
  EXPECT_EQ(next_event(client).data["paused"], true);
  on_loop([&] {
    jobs.running[id].paused = false;
    jobs.watches.tell(id, false);
  });
  event = next_event(client);
  EXPECT_EQ(event.data["paused"], false);
  EXPECT_EQ(event.data["state"], "running");
  print(id, "\xa4\xff\ndata: x\n\n");
  EXPECT_EQ(next_event(client).data["data"]["base64"], "w6T/CmRhdGE6IHgKCg==");
  end(id);
  event = next_event(client);
  EXPECT_EQ(event.event, "step");
  EXPECT_EQ(event.data["state"], "finished");
  EXPECT_EQ(event.data["verdict"], "ok");
  event = next_event(client);
  EXPECT_EQ(event.event, "state");
  EXPECT_EQ(event.data["state"], "finished");
  event = next_event(client);
  EXPECT_EQ(event.event, "done");
  EXPECT_EQ(event.data["verdict"], "ok");
  EXPECT_EQ(next_chunk(client), "");
}

TEST_F(HttpStreams, EventsGoOnBehindEveryOneOfThem) {
  const auto id = running_job(std::string(40'000, 'a') + "\xc3\xa4" + std::string(100, 'b'));
  end(id);
  auto client = events(id);
  client.read();
  const auto all = all_events(client);
  ASSERT_GE(all.size(), 8U);
  for (std::size_t from = 0; from < all.size(); ++from) {
    auto again = events(id, all[from].id);
    const auto head = again.read();
    if (from + 1 == all.size()) {
      EXPECT_EQ(head.status, 204) << "nothing comes after done";
      continue;
    }
    const auto rest = all_events(again);
    ASSERT_EQ(rest.size(), all.size() - from - 1) << all[from].id;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].id, all[from + 1 + i].id);
      EXPECT_EQ(rest[i].data, all[from + 1 + i].data);
    }
  }
}

TEST_F(HttpStreams, AQueuedJobAnotherAttemptAndADeletedOne) {
  const std::string id = post(kJob).json()["id"];
  auto client = events(id);
  client.read();
  EXPECT_EQ(next_event(client).data["state"], "queued");
  on_loop([&] {
    jobs.live = "first";
    jobs.running[id] = Progress{1, {{"run", std::nullopt}}};
    jobs.watches.tell(id, false);
  });
  EXPECT_EQ(next_event(client).data["state"], "running");
  EXPECT_EQ(next_event(client).event, "step");
  EXPECT_EQ(next_event(client).data["data"], "first");
  on_loop([&] {
    jobs.live = "second";
    jobs.running[id].attempt = 2;
    jobs.watches.tell(id, false);
  });
  const auto again = next_event(client);
  EXPECT_EQ(again.data["state"], "running");
  EXPECT_EQ(again.data["attempt"], 2);
  EXPECT_EQ(next_event(client).event, "step");
  EXPECT_EQ(next_event(client).data["data"], "second");
  on_loop([&] {
    jobs.running.erase(id);
    store.erase(id);
    jobs.watches.tell(id, true);
  });
  EXPECT_EQ(next_chunk(client), "");
}

TEST_F(HttpStreams, AStreamWithNothingToTellHasAPulse) {
  const std::string id = post(kJob).json()["id"];
  auto client = events(id);
  client.read();
  EXPECT_EQ(next_event(client).event, "state");
  EXPECT_EQ(next_chunk(client), ": \n\n");
  EXPECT_EQ(next_chunk(client), ": \n\n");
}

TEST_F(HttpStreams, WhatEventsRefuse) {
  EXPECT_EQ(ask("GET", "/v1/jobs/nope/events").status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/00000000000000000000000099/events").status, 404);
  const std::string id = post(kJob).json()["id"];
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/events", "Last-Event-ID: 7\r\n").status, 400);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/events?x=1").status, 400);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/events", "Accept: application/json\r\n").status, 406);
  EXPECT_EQ(ask("HEAD", "/v1/jobs/" + id + "/events").status, 200);
}

TEST_F(HttpStreams, ADeletedJobIsGone) {
  const std::string id = post(kJob).json()["id"];
  EXPECT_EQ(ask("DELETE", "/v1/jobs/" + id).status, 409);
  on_loop([&] { jobs.end(id, core::Verdict::ok, "x"); });
  EXPECT_EQ(ask("DELETE", "/v1/jobs/" + id + "?x=1").status, 400);
  EXPECT_EQ(ask("DELETE", "/v1/jobs/" + id).status, 204);
  EXPECT_EQ(ask("DELETE", "/v1/jobs/" + id).status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id).status, 404);
  EXPECT_EQ(ask("DELETE", "/v1/jobs/nope").status, 404);
}

TEST(JobPositionText, ParsesItsOwnTextAndNothingElse) {
  JobPosition position;
  position.attempt = 3;
  position.told = JobPosition::running;
  position.step = 63;
  position.part = JobPosition::begun;
  position.stdout_bytes = 1ULL << 40;
  const auto parsed = JobPosition::parse(position.text());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text(), position.text());
  for (const char* text : {"", "1", "1-2-3-0-5", "1-2-3-0-5-6-7", "1-2-3-0-5-6 ", "-1-2-3-0-5-6", "1-6-0-0-0-0", "1-2-0-2-0-0",
                           "1-2-0-0-0-x", "99999999999999999999-2-0-0-0-0"})
    EXPECT_FALSE(JobPosition::parse(text)) << text;
}

TEST(WholeCharacters, EndBeforeAHalfOne) {
  EXPECT_EQ(whole_characters(""), 0U);
  EXPECT_EQ(whole_characters("ab"), 2U);
  EXPECT_EQ(whole_characters("a\xc3"), 1U);
  EXPECT_EQ(whole_characters("a\xc3\xa4"), 3U);
  EXPECT_EQ(whole_characters("\xe2\x82"), 0U);
  EXPECT_EQ(whole_characters("a\xf0\x9f\x98"), 1U);
  EXPECT_EQ(whole_characters("a\xf0\x9f\x98\x80"), 5U);
  EXPECT_EQ(whole_characters("\x80\x80\x80\x80"), 4U);
}

}  // namespace
}  // namespace bailiff::server
