// Whatever is killed and when: every accepted job ends, once.
#include <signal.h>

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
