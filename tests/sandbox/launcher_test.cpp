#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "sandbox/message.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::ErrorKind;
using core::Verdict;

TEST_F(SandboxTest, RefusesWhatItWasNotConfiguredFor) {
  struct Row {
    const char* what;
    void (*change)(StepRequest&);
  };
  const Row rows[] = {{"image", [](StepRequest& r) { r.image = "other"; }},
                      {"memory", [](StepRequest& r) { r.limits.memory_bytes = 1ULL << 50; }},
                      {"zero time", [](StepRequest& r) { r.limits.cpu_time_us = 0; }},
                      {"no command", [](StepRequest& r) { r.argv.clear(); }},
                      {"cwd", [](StepRequest& r) { r.cwd = "../.."; }},
                      {"nul", [](StepRequest& r) { r.argv.push_back(std::string("a\0b", 3)); }},
                      {"variable", [](StepRequest& r) { r.env = {"NOEQUALS"}; }},
                      {"unsealed tree", [](StepRequest& r) { r.trees.push_back(std::move(*output_memfd())); }},
                      {"not a memfd", [](StepRequest& r) { r.trees.emplace_back(dup(0)); }},
                      {"unsealed stdin", [](StepRequest& r) { r.stdin_fd = std::move(*output_memfd()); }}};
  for (const auto& row : rows) {
    auto request = victim({"exit", "0"});
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    row.change(request);
    const auto report = slot(0).run(request);
    ASSERT_FALSE(report) << row.what;
    EXPECT_EQ(report.error().kind, ErrorKind::invalid) << row.what << ": " << report.error().what;
  }
  EXPECT_EQ(run(victim({"exit", "0"})).verdict(), Verdict::ok);
}

TEST_F(SandboxTest, AKilledSlotIsReplacedAndItsProgramDies) {
  auto request = victim({"sleep", "60000"});
  request.limits.wall_time_us = 60'000'000;
  StartedStep step(slot(0), std::move(request));
  ASSERT_GT(step.program(), 1);
  ASSERT_EQ(kill(parent_of(parent_of(step.program())), SIGKILL), 0);  // program, init, slot
  const auto report = slot(0).finish();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::unavailable);
  auto replacement = launcher().next_slot();
  ASSERT_TRUE(replacement) << replacement.error().what;
  EXPECT_EQ(replacement->index(), 0U);
  EXPECT_TRUE(ends(step.program()));
  slot(0) = std::move(*replacement);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(victim({"exit", "0"})).verdict(), Verdict::ok);
}

TEST_F(SandboxTest, ClocksStartWhereTheLauncherWasTold) {
  LauncherConfig config;
  config.uid_base = 0x48000000;
  config.clock_start_s = 500'000'000;
  auto request = victim({"identity"});
  config.images = {{request.image, Image::Kind::host, ""}};
  auto launcher = Launcher::start(config);
  ASSERT_TRUE(launcher) << launcher.error().what;
  auto other = launcher->next_slot();
  ASSERT_TRUE(other);
  for (int i = 0; i < 3; ++i) {
    auto again = victim({"identity"});
    again.stdout_fd = std::move(*output_memfd());
    again.stderr_fd = std::move(*output_memfd());
    const int out = dup(again.stdout_fd.get());
    ASSERT_TRUE(other->run(again));
    const auto text = *read_all(out);
    close(out);
    const auto uptime = text.find("uptime ");
    ASSERT_NE(uptime, text.npos) << text;
    const long seconds = std::stol(text.substr(uptime + 7));
    EXPECT_GE(seconds, 500'000'000) << text;
    EXPECT_LT(seconds, 500'000'600) << text;
  }
}

TEST_F(SandboxTest, ASlotWhoseCallerLeavesEndsItsProgram) {
  auto own = config();
  own.slots = 1;
  own.uid_base += 0x10000000;
  auto launcher = Launcher::start(own);
  ASSERT_TRUE(launcher) << launcher.error().what;
  {
    auto slot = launcher->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    auto request = victim({"hold_marks"});
    request.limits.wall_time_us = 600'000'000;
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    ASSERT_TRUE(slot->start(request));
    const auto is_running = [&] { return read_all(request.stdout_fd.get()).value_or("").ends_with("held\n"); };
    for (int tries = 0; tries < 5000 && !is_running(); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_TRUE(is_running());
    EXPECT_GT(count_owned(own), 0U);
  }
  for (int tries = 0; tries < 5000 && count_owned(own) > 0; ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(count_owned(own), 0U);
}

TEST_F(SandboxTest, ManyStepsLeaveNothingAndDoNotDrift) {
  const char* steps = std::getenv("BAILIFF_TEST_STEPS");
  for (int i = 0; i < (steps != nullptr ? std::atoi(steps) : 200); ++i) {
    const auto ran = run(victim({"exit", "0"}), static_cast<unsigned>(i % 2));
    ASSERT_EQ(ran.verdict(), Verdict::ok) << i << describe(ran);
    EXPECT_LT(ran.outcome().usage.memory_peak_bytes, 8U << 20) << i;
  }
}

}  // namespace
}  // namespace bailiff::sandbox::testing
