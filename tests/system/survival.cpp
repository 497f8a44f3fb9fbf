// Whatever is killed and when: every accepted job ends, once.
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

class SurvivalTest : public SystemTest {
 protected:
  /// A job that prints `text`, after `seconds`.
  Json slow(const std::string& text, const std::string& seconds) {
    return command({"sh", "-c", "sleep " + seconds + "; echo " + text}, {{"wall_time_ms", 100'000}});
  }
  std::size_t times_finished(const std::string& id) {
    const auto text = log_text();
    const auto line = "event=\"job finished\" job=" + id + " ";
    std::size_t count = 0;
    for (auto at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) ++count;
    return count;
  }
  void kill_server_hard() {
    remember_processes();
    server_->signal(SIGKILL);
    EXPECT_EQ(server_->wait_for_end(), 128 + SIGKILL);
    server_.reset();
    expect_nothing_left();
  }
};

TEST_F(SurvivalTest, EveryJobEndsOnceAfterTheServerIsKilled) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::vector<std::string> ids;
  for (int i = 0; i < 2; ++i) ids.push_back(submit(slow(std::to_string(i), "2")));
  ASSERT_TRUE(eventually([&]() { return state_of(ids[0]) == "running" && state_of(ids[1]) == "running"; }));
  for (int i = 2; i < 52; ++i) ids.push_back(submit(slow(std::to_string(i), "0")));
  EXPECT_EQ(state_of(ids[2]), "queued");
  EXPECT_EQ(state_of(ids[51]), "queued");
  kill_server_hard();

  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 52; ++i) {
    const auto job = wait(ids[i]);
    EXPECT_EQ(job.at("verdict"), "ok") << job.dump(2);
    EXPECT_EQ(job.at("steps").at(0).at("stdout"), std::to_string(i) + "\n");
    EXPECT_EQ(job.at("attempt"), i < 2 ? 2 : 1);
    EXPECT_EQ(times_finished(ids[i]), 1u);
  }
  const auto page = http().get("/v1/jobs?limit=100").json();
  EXPECT_EQ(page.at("items").size(), 52u);
}

TEST_F(SurvivalTest, NothingIsLeftOfAPausedJobWhoseServerIsKilled) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto id = submit(slow("a", "1"));
  ASSERT_TRUE(eventually([&]() { return state_of(id) == "running"; }));
  EXPECT_EQ(http().post("/v1/jobs/" + id + ":pause", nullptr).status, 200);
  kill_server_hard();
  ASSERT_NO_FATAL_FAILURE(start());
  const auto job = wait(id);
  EXPECT_EQ(job.at("verdict"), "ok") << job.dump(2);
  EXPECT_EQ(job.at("attempt"), 2);
}

TEST_F(SurvivalTest, SigtermLetsARunningJobEnd) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  const auto running = submit(slow("a", "1")), queued = submit(slow("b", "0"));
  ASSERT_TRUE(eventually([&]() { return state_of(running) == "running"; }));
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_EQ(times_finished(running), 1u);
  EXPECT_EQ(times_finished(queued), 0u);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(wait(running).at("attempt"), 1);
  EXPECT_EQ(wait(queued).at("verdict"), "ok");
}

TEST_F(SurvivalTest, SigtermPutsAJobThatTakesTooLongBackIntoTheQueue) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--drain-seconds", "0"}));
  const auto id = submit(slow("a", "60"));
  ASSERT_TRUE(eventually([&]() { return state_of(id) == "running"; }));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--drain-seconds", "0"}));
  ASSERT_TRUE(eventually([&]() { return state_of(id) == "running"; }));
  EXPECT_EQ(http().get("/v1/jobs/" + id).json().at("attempt"), 2);
  EXPECT_EQ(times_finished(id), 0u);
}

TEST_F(SurvivalTest, ASecondSignalEndsItAtOnce) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  const auto id = submit(slow("a", "60"));
  ASSERT_TRUE(eventually([&]() { return state_of(id) == "running"; }));
  remember_processes();
  server_->signal(SIGTERM);
  ASSERT_TRUE(eventually([&]() { return log_text().find("event=\"draining\"") != std::string::npos; }));
  server_->signal(SIGTERM);
  EXPECT_EQ(server_->wait_for_end(std::chrono::seconds(5)), 1);
  server_.reset();
  expect_nothing_left();
}

TEST_F(SurvivalTest, RetentionLeavesTheNewestJobs) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) wait(ids.emplace_back(submit(slow(std::to_string(i), "0"))));
  stop();
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--retention-max-jobs", "2"}));
  EXPECT_TRUE(eventually([&]() { return http().get("/v1/jobs/" + ids[0]).status == 404; }));
  for (int i = 1; i < 3; ++i) EXPECT_EQ(http().get("/v1/jobs/" + ids[i]).status, 200);
}

TEST_F(SurvivalTest, ABackupOfARunningServer) {
  ASSERT_NO_FATAL_FAILURE(start());
  wait(submit(slow("a", "0")));
  const auto copy = ::testing::TempDir() + "bailiff-copy-" + std::to_string(::getpid());
  const auto run = [](const std::string& command) { return WEXITSTATUS(std::system(command.c_str())); };
  const auto command = BAILIFF_PATH " backup --data " + data() + " " + copy;
  EXPECT_EQ(run(command + " >/dev/null"), 0);
  EXPECT_EQ(run("test \"$(sqlite3 " + copy + " 'SELECT count(*), min(verdict) FROM jobs')\" = '1|ok'"), 0);
  EXPECT_EQ(run(command + " 2>/dev/null"), 65);  // it is there already
  struct stat info{};
  EXPECT_EQ(::stat(copy.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0U);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  ::unlink(copy.c_str());
}

/// Stands in for systemd while it lives: servers that are started tell it how they are.
class FakeSystemd {
 public:
  explicit FakeSystemd(std::string path) : path_(std::move(path)), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path_.copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0) << path_;
    ::chmod(path_.c_str(), 0666);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
    ::setenv("WATCHDOG_USEC", "200000", 1);
  }
  FakeSystemd(const FakeSystemd&) = delete;
  FakeSystemd& operator=(const FakeSystemd&) = delete;
  ~FakeSystemd() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  /// The next message; empty where none comes in ten seconds.
  std::string next() const {
    pollfd readable{fd_, POLLIN, 0};
    std::string message(256, '\0');
    const ssize_t size = ::poll(&readable, 1, 10'000) == 1 ? ::recv(fd_, message.data(), message.size(), 0) : 0;
    message.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return message;
  }

 private:
  std::string path_;
  int fd_;
};

TEST_F(SurvivalTest, SystemdIsToldOfBeginLifeAndEnd) {
  const FakeSystemd systemd(::testing::TempDir() + "bailiff-notify-" + std::to_string(::getpid()));
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(systemd.next(), "READY=1");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(systemd.next(), "WATCHDOG=1");
  stop();
  std::string message;
  do message = systemd.next();
  while (message == "WATCHDOG=1");
  EXPECT_EQ(message, "STOPPING=1");
}

TEST_F(SurvivalTest, ADeadSlotCostsOneAttempt) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto first = submit(slow("a", "1")), second = submit(slow("b", "1"));
  ASSERT_TRUE(eventually([&]() { return state_of(first) == "running" && state_of(second) == "running"; }));
  const auto slots = children_of(server_->launcher());
  ASSERT_EQ(slots.size(), 2u);
  for (const pid_t slot : slots) ::kill(slot, SIGKILL);
  for (const auto& id : {first, second}) {
    const auto job = wait(id);
    EXPECT_EQ(job.at("verdict"), "ok") << job.dump(2);
    EXPECT_EQ(job.at("attempt"), 2);
  }
  EXPECT_EQ(children_of(server_->launcher()).size(), 2u);
}

/// Rounds of a test that can go on for ever.
int rounds() {
  const char* asked = std::getenv("SURVIVAL_ROUNDS");
  return asked == nullptr ? 8 : std::atoi(asked);
}

// In each round jobs are accepted, run and end while something is killed at a random instant: bailiffd, the launcher, every slot, all of
// them at once. A create whose answer was lost is sent again, as a client would, with its key.
TEST_F(SurvivalTest, RandomKillsUnderLoadLoseAndRepeatNothing) {
  constexpr int kJobs = 10;
  std::mt19937 random(20'261'127);
  const auto begin = [&] { start({"--slots", "2", "--max-attempts", "20"}); };
  begin();
  std::vector<std::string> ids;
  for (int round = 0; round < rounds() && !HasFailure(); ++round) {
    Json batch = {{"jobs", Json::array()}};
    for (int i = 0; i < kJobs; ++i) batch["jobs"].push_back(slow(std::to_string(round * kJobs + i), "0.0" + std::to_string(random() % 10)));
    const std::vector<std::string> key = {"Idempotency-Key: round " + std::to_string(round)};
    HttpAnswer answer;
    std::jthread client([&, http = http()] { answer = http.post("/v1/jobs:batch", batch, key); });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 400'000));
    const pid_t server = server_->pid(), launcher = server_->launcher();
    ASSERT_TRUE(server > 1 && launcher > 1) << launcher;  // below are kills
    const auto slots = children_of(launcher);
    const int victim = round % 4;
    remember_processes();
    if (victim == 2 || victim == 3)
      for (const pid_t slot : slots) ::kill(slot, SIGKILL);
    if (victim == 1 || victim == 3) ::kill(launcher, SIGKILL);
    if (victim == 0 || victim == 3) ::kill(server, SIGKILL);
    client.join();
    if (victim != 2) {
      EXPECT_TRUE(server_->wait_for_end(std::chrono::seconds(30))) << "round " << round;
      server_.reset();
      if (victim == 0) expect_nothing_left();  // of a dead launcher its groups are left, empty; the next one removes them
      begin();
    }
    ASSERT_TRUE(eventually([&] { return (answer = http().post("/v1/jobs:batch", batch, key)).status == 200; })) << answer.body;
    const auto made = answer.json();
    for (const auto& item : made.at("items")) ids.push_back(item.at("job").at("id"));
  }
  ASSERT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto job = wait(ids[i]);
    EXPECT_EQ(job.at("verdict"), "ok") << job.dump(2);
    EXPECT_EQ(job.at("steps").at(0).at("stdout"), std::to_string(i) + "\n");
  }
  std::size_t stored = 0;
  std::string cursor;
  do {
    const auto page = http().get("/v1/jobs?limit=200" + cursor).json();
    stored += page.at("items").size();
    const auto& next = page.at("next_cursor");
    cursor = next.is_null() ? "" : "&cursor=" + next.get<std::string>();
  } while (!cursor.empty());
  EXPECT_EQ(stored, ids.size());
  const auto log = log_text();
  std::map<std::string, int> ends;
  const std::string line = "event=\"job finished\" job=";
  for (auto at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++ends[log.substr(at + line.size(), 26)];
  for (const auto& [id, times] : ends) EXPECT_EQ(times, 1) << id;
  std::printf("%zu jobs, %d rounds\n", ids.size(), rounds());
}

TEST_F(SurvivalTest, ADeadLauncherEndsTheServerAndLosesNothing) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto running = submit(slow("a", "1"));
  ASSERT_TRUE(eventually([&]() { return state_of(running) == "running"; }));
  remember_processes();
  ASSERT_GT(server_->launcher(), 0);
  ::kill(server_->launcher(), SIGKILL);
  EXPECT_EQ(server_->wait_for_end(std::chrono::seconds(10)), 1);
  server_.reset();
  EXPECT_NE(log_text().find("the launcher is gone"), std::string::npos);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(wait(running).at("attempt"), 2);
}

}  // namespace
}  // namespace bailiff::system_tests
