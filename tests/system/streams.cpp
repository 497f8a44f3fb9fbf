// Many jobs at once, live events, deletion and idempotency keys on the real server.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

struct Event {
  std::string id, event;
  Json data;
};

std::vector<Event> events_in(const std::string& text) {
  std::vector<Event> all;
  std::istringstream lines(text);
  Event event;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("id: ")) event.id = line.substr(4);
    else if (line.starts_with("event: ")) event.event = line.substr(7);
    else if (line.starts_with("data: ")) event.data = Json::parse(line.substr(6));
    else if (line.empty() && !event.event.empty()) all.push_back(std::exchange(event, {}));
  }
  return all;
}

/// What a stream printed to one output.
std::string printed(const std::vector<Event>& events, const std::string& stream) {
  std::string text;
  for (const auto& event : events)
    if (event.event == stream) text += event.data.at("data").get<std::string>();
  return text;
}

/// A connection that reads nothing by itself.
class Socket {
 public:
  explicit Socket(const std::string& url) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{20, 0};
    EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }
  void ask(const std::string& target) const {
    const std::string text = "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  /// Everything up to and with `end`, or what came until the connection ended.
  std::string read_to(const std::string& end) {
    std::array<char, 4096> chunk{};
    while (text_.find(end) == std::string::npos) {
      const auto count = ::recv(fd_, chunk.data(), chunk.size(), 0);
      if (count <= 0) break;
      text_.append(chunk.data(), static_cast<std::size_t>(count));
    }
    return text_;
  }

 private:
  int fd_;
  std::string text_;
};

class StreamTest : public SystemTest {
 protected:
  std::vector<Event> events(const std::string& id, const std::string& last = "") {
    const auto answer =
        http().get("/v1/jobs/" + id + "/events", last.empty() ? std::vector<std::string>() : std::vector{"Last-Event-ID: " + last});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return events_in(answer.body);
  }
  std::uint64_t memory_of_server() const {
    std::ifstream file("/proc/" + std::to_string(server_->pid()) + "/status");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
    return 0;
  }
};

TEST_F(StreamTest, ABatchRunsAndItsLinesComeAsItsJobsEnd) {
  ASSERT_NO_FATAL_FAILURE(start());
  Json batch = {{"jobs", Json::array()}};
  for (int i = 0; i < 30; ++i) batch["jobs"].push_back(command({"sh", "-c", i == 0 ? "sleep 1; echo 0" : "echo " + std::to_string(i)}));
  batch["jobs"].push_back({{"image", "none"}});
  const auto answer = http().post("/v1/jobs:batch", batch, {"Accept: application/x-ndjson", "Prefer: wait=60"});
  ASSERT_EQ(answer.status, 200) << answer.body;
  std::istringstream lines(answer.body);
  std::map<int, Json> items;
  int last = -1;
  for (std::string line; std::getline(lines, line);) {
    auto item = Json::parse(line);
    last = item.at("index");
    EXPECT_TRUE(items.emplace(last, item).second);
  }
  ASSERT_EQ(items.size(), 31u);
  EXPECT_EQ(last, 0) << "the slowest comes last";
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(items[i].at("status"), 200);
    EXPECT_EQ(items[i].at("job").at("steps").at(0).at("stdout"), std::to_string(i) + "\n");
  }
  EXPECT_EQ(items[30].at("status"), 422);
}

TEST_F(StreamTest, ABatchTakesWhatTheQueueHasRoomFor) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--max-queued-jobs", "5", "--max-batch-jobs", "20"}));
  const auto blocker = submit(command({"sleep", "60"}, {{"wall_time_ms", 100'000}}));
  ASSERT_TRUE(eventually([&]() { return state_of(blocker) == "running"; }));
  Json batch = {{"jobs", Json::array()}};
  for (int i = 0; i < 8; ++i) batch["jobs"].push_back(command({"true"}));
  const auto items = http().post("/v1/jobs:batch", batch).json().at("items");
  int accepted = 0;
  for (const auto& item : items) accepted += item.at("status") == 202 ? 1 : 0;
  EXPECT_EQ(accepted, 5);
  EXPECT_EQ(items.at(7).at("status"), 429);
  for (int i = 0; i < 20; ++i) batch["jobs"].push_back(command({"true"}));
  EXPECT_EQ(http().post("/v1/jobs:batch", batch).status, 422);
  EXPECT_EQ(http().post("/v1/jobs/" + blocker + ":cancel", nullptr).status / 100, 2);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(wait(items.at(i).at("job").at("id")).at("verdict"), "ok");
}

TEST_F(StreamTest, KeysGiveOneJobAlsoToManyAtOnceAndAfterARestart) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto request = command({"echo", "once"});
  std::vector<std::string> ids(8);
  {
    std::vector<std::jthread> clients;
    for (auto& id : ids)
      clients.emplace_back([&]() {
        const auto answer = http().post("/v1/jobs", request, {"Idempotency-Key: same"});
        if (answer.status == 202) id = answer.json().at("id");
      });
  }
  for (const auto& id : ids) EXPECT_EQ(id, ids[0]);
  const Json batch = {{"jobs", {request, request}}};
  const auto items = http().post("/v1/jobs:batch", batch, {"Idempotency-Key: same"}).json().at("items");
  wait(ids[0]);
  ASSERT_NO_FATAL_FAILURE(stop());
  ASSERT_NO_FATAL_FAILURE(start());
  const auto again = http().post("/v1/jobs", request, {"Idempotency-Key: same"});
  EXPECT_EQ(again.json().at("id"), ids[0]);
  EXPECT_EQ(again.headers.at("location"), "/v1/jobs/" + ids[0]);
  EXPECT_EQ(http().post("/v1/jobs", command({"true"}), {"Idempotency-Key: same"}).status, 422);
  const auto items_again = http().post("/v1/jobs:batch", batch, {"Idempotency-Key: same"}).json().at("items");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(items_again.at(i).at("job").at("id"), items.at(i).at("job").at("id"));
  EXPECT_EQ(http().get("/v1/jobs").json().at("items").size(), 3u);
}

TEST_F(StreamTest, EventsComeWhileTheProgramRuns) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto id = submit(
      command({"sh", "-c", "echo one; echo err >&2; sleep 1; printf 'two\\n\\nevent: done\\n'; sleep 60"}, {{"wall_time_ms", 100'000}}));
  Socket client(server_->url());
  client.ask("/v1/jobs/" + id + "/events");
  EXPECT_NE(client.read_to("one").find("event: stdout"), std::string::npos);
  EXPECT_NE(client.read_to("err").find("event: stderr"), std::string::npos);
  EXPECT_EQ(client.read_to("one").find("two"), std::string::npos);
  EXPECT_NE(client.read_to("two").find("two"), std::string::npos) << "without a further request";
  EXPECT_EQ(state_of(id), "running");
  EXPECT_EQ(http().post("/v1/jobs/" + id + ":cancel", nullptr).status / 100, 2);
  const auto all = events_in(client.read_to("\r\n0\r\n\r\n"));
  EXPECT_EQ(printed(all, "stdout"), "one\ntwo\n\nevent: done\n");
  int ends = 0;
  for (const auto& event : all) ends += event.event == "done" ? 1 : 0;
  EXPECT_EQ(ends, 1) << "the program forged none";
  EXPECT_EQ(all.back().event, "done");
  EXPECT_EQ(all.back().data.at("verdict"), "cancelled");
}

TEST_F(StreamTest, EventsGoOnWhereTheyBrokeAlsoAfterARestart) {
  ASSERT_NO_FATAL_FAILURE(start());
  const Json request = {{"image", "host"},
                        {"steps",
                         {{{"name", "first"}, {"command", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo e >&2"}},
                          {{"name", "second"}, {"command", "echo end; exit 3"}}}}};
  const auto id = submit(request);
  const auto live = events(id);
  const auto job = wait(id);
  EXPECT_EQ(live.back().event, "done");
  EXPECT_EQ(live.back().data.at("verdict"), "runtime_error");
  EXPECT_EQ(printed(live, "stdout"), job.at("steps").at(0).at("stdout").get<std::string>() + "end\n");
  EXPECT_EQ(printed(live, "stderr"), "e\n");
  ASSERT_NO_FATAL_FAILURE(stop());
  ASSERT_NO_FATAL_FAILURE(start());
  for (std::size_t from = 0; from + 1 < live.size(); ++from) {
    std::vector<Event> all(live.begin(), live.begin() + static_cast<std::ptrdiff_t>(from) + 1);
    for (auto& event : events(id, live[from].id)) all.push_back(std::move(event));
    EXPECT_EQ(printed(all, "stdout"), printed(live, "stdout")) << live[from].id;
    EXPECT_EQ(printed(all, "stderr"), "e\n");
    int steps = 0, states = 0;
    for (const auto& event : all) {
      steps += event.event == "step" ? 1 : 0;
      states += event.event == "state" && event.data.at("state") == "finished" ? 1 : 0;
    }
    EXPECT_EQ(steps, 4) << live[from].id;
    EXPECT_EQ(states, 1);
  }
  EXPECT_EQ(http().get("/v1/jobs/" + id + "/events", {"Last-Event-ID: " + live.back().id}).status, 204);
}

TEST_F(StreamTest, AClientThatDoesNotReadCostsLittleAndHoldsNothingUp) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto id = submit(command({"sh", "-c", "yes 0123456789abcdef | head -c 60000000"}, {{"output_bytes", 64'000'000}}));
  std::vector<std::unique_ptr<Socket>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<Socket>(server_->url()));
    clients.back()->ask("/v1/jobs/" + id + "/events");
  }
  EXPECT_EQ(http().get("/v1/jobs/" + id, {"Prefer: wait=60"}).json().at("verdict"), "ok");
  clients.clear();
  const auto before = static_cast<std::int64_t>(memory_of_server());
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<Socket>(server_->url()));
    clients.back()->ask("/v1/jobs/" + id + "/events");
    EXPECT_NE(clients.back()->read_to("event: stdout").find("event: stdout"), std::string::npos);
  }
  EXPECT_EQ(run(command({"echo", "x"})).at("verdict"), "ok");
  EXPECT_LT(static_cast<std::int64_t>(memory_of_server()) - before, 16 << 20);
}

TEST_F(StreamTest, ManyIdleClientsOfEventsCostLittle) {
  constexpr int kClients = 2000;
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--max-connections", "3000"}));
  const auto id = submit(command({"sh", "-c", "echo up; sleep 100"}, {{"wall_time_ms", 200'000}}));
  ASSERT_TRUE(eventually([&]() { return state_of(id) == "running"; }));
  const auto before = memory_of_server();
  std::vector<std::unique_ptr<Socket>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Socket>(server_->url()));
    clients.back()->ask("/v1/jobs/" + id + "/events");
    EXPECT_NE(clients.back()->read_to("up").find("up"), std::string::npos);
  }
  const auto each = (memory_of_server() - before) / kClients;
  RecordProperty("bytes_each", std::to_string(each));
  EXPECT_LT(each, 10 * 1024u);
  EXPECT_EQ(http().post("/v1/jobs/" + id + ":cancel", nullptr).status / 100, 2);
  for (auto& client : clients) EXPECT_NE(client->read_to("event: done").find("event: done"), std::string::npos);
}

TEST_F(StreamTest, ADeletedJobIsForgotten) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto running = submit(command({"sleep", "60"}, {{"wall_time_ms", 100'000}}));
  ASSERT_TRUE(eventually([&]() { return state_of(running) == "running"; }));
  EXPECT_EQ(http().remove("/v1/jobs/" + running).status, 409);
  const auto request = command({"echo", "x"});
  const std::string id = http().post("/v1/jobs", request, {"Idempotency-Key: k"}).json().at("id");
  wait(id);
  EXPECT_EQ(http().remove("/v1/jobs/" + id).status, 204);
  EXPECT_EQ(http().remove("/v1/jobs/" + id).status, 404);
  EXPECT_EQ(http().get("/v1/jobs/" + id).status, 404);
  EXPECT_EQ(http().get("/v1/jobs/" + id + "/steps/0/stdout").status, 404);
  EXPECT_EQ(http().get("/v1/jobs").json().at("items").size(), 1u);
  EXPECT_NE(http().post("/v1/jobs", request, {"Idempotency-Key: k"}).json().at("id"), id) << "its key went with it";
  EXPECT_EQ(http().post("/v1/jobs/" + running + ":cancel", nullptr).status / 100, 2);
  wait(running);
}

TEST_F(StreamTest, FiltersOfTheListCombine) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) {
    auto request = command({"sh", "-c", i % 2 == 0 ? "true" : "false"});
    request["labels"] = {{"user", i < 3 ? "a" : "b"}, {"n", std::to_string(i)}};
    ids.push_back(run(request).at("id"));
  }
  const auto found = [&](const std::string& query) {
    std::vector<std::string> list;
    const auto page = http().get("/v1/jobs?" + query).json();
    for (const auto& item : page.at("items")) list.push_back(item.at("id"));
    return list;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(found("state=finished&verdict=ok&label=user:a"), (Ids{ids[2], ids[0]}));
  EXPECT_EQ(found("verdict=runtime_error&label=user:b&label=n:5"), (Ids{ids[5]}));
  EXPECT_EQ(found("state=queued"), Ids{});
  EXPECT_EQ(found("label=user:a&verdict=ok&limit=1"), (Ids{ids[2]}));
  const auto cursor = http().get("/v1/jobs?label=user:a&verdict=ok&limit=1").json().at("next_cursor").get<std::string>();
  EXPECT_EQ(found("label=user:a&verdict=ok&limit=1&cursor=" + cursor), (Ids{ids[0]}));
  const auto refused = http().get("/v1/jobs?state=gone&verdict=fine&label=x&limit=0&cursor=1&other=2");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json().at("errors").size(), 6u);
}

}  // namespace
}  // namespace bailiff::system_tests
