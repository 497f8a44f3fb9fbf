#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <sstream>
#include <thread>

#include "sandbox/kernel_file.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Until the kernel says that every process of the program's group is frozen, or is not.
bool becomes(const StartedStep& step, bool frozen) {
  const std::string group = step.group(&ControllerPaths::freezer);
  for (int tries = 0; tries < 5000; ++tries) {
    const auto v1 = read_kernel_file(group + "/freezer.state");
    const auto v2 = read_kernel_file(group + "/cgroup.events");
    const bool now = v1 ? v1->starts_with("FROZEN") : v2 && keyed_number(*v2, "frozen") == 1;
    if (now == frozen) return true;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

std::uint64_t cpu_ticks(pid_t process) {
  const std::string stat = read_kernel_file("/proc/" + std::to_string(process) + "/stat").value_or("");
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int i = 0; i < 11; ++i) fields >> field;
  std::uint64_t user = 0, system = 0;
  fields >> user >> system;
  return user + system;
}

class FreezerTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    for (const auto& capability : probe_host())
      if (capability.name == "cgroup.freezer" && !capability.present) GTEST_SKIP() << "missing host capability: cgroup.freezer";
  }
};

TEST_F(FreezerTest, FrozenTimeIsNeitherCpuNorWallTime) {
  auto request = victim({"spin", "300"});
  request.limits.cpu_time_us = 900'000;
  request.limits.wall_time_us = 3'000'000;
  StartedStep step(slot(0), std::move(request));
  ASSERT_GT(step.program(), 0);
  const auto began = steady_clock::now();
  for (int pauses = 0; pauses < 2; ++pauses) {
    ASSERT_TRUE(slot(0).pause());
    ASSERT_TRUE(slot(0).pause());  // a second one changes nothing
    ASSERT_TRUE(becomes(step, true));
    const auto ticks = cpu_ticks(step.program());
    std::this_thread::sleep_for(milliseconds(2000));  // together longer than either limit
    EXPECT_EQ(cpu_ticks(step.program()), ticks);
    ASSERT_TRUE(slot(0).resume());
    ASSERT_TRUE(slot(0).resume());
    ASSERT_TRUE(becomes(step, false));
  }
  const auto ran = step.finish();
  const auto passed_us =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - began).count());
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_GE(ran.outcome().usage.cpu_us, 299'000U);
  EXPECT_GE(ran.evidence("paused_ms"), 4000);
  EXPECT_GE(ran.outcome().usage.wall_us, 290'000U);
  EXPECT_LE(ran.outcome().usage.wall_us, passed_us - 3'900'000) << passed_us;
}

TEST_F(FreezerTest, LimitsHoldAfterAPause) {
  auto request = victim({"sleep", "60000"});
  request.limits.wall_time_us = 300'000;
  StartedStep step(slot(0), std::move(request));
  ASSERT_GT(step.program(), 0);
  ASSERT_TRUE(slot(0).pause());
  ASSERT_TRUE(becomes(step, true));
  ASSERT_TRUE(slot(0).resume());
  EXPECT_EQ(step.finish().verdict(), Verdict::wall_time_limit_exceeded);
}

TEST_F(FreezerTest, CancelEndsAPausedStep) {
  for (const char* name : {"spin_forever", "sleep", "fork_tree"}) {
    StartedStep step(slot(0), victim({name, "60000"}));
    ASSERT_GT(step.program(), 0);
    ASSERT_TRUE(slot(0).pause());
    ASSERT_TRUE(becomes(step, true));
    ASSERT_TRUE(slot(0).cancel());
    const auto ran = step.finish();
    EXPECT_EQ(ran.verdict(), Verdict::cancelled) << name << describe(ran);
  }
  EXPECT_EQ(run(victim({"exit", "0"})).verdict(), Verdict::ok);
}

TEST_F(FreezerTest, PauseAndResumeThatComeTooLateAreHarmless) {
  ASSERT_TRUE(slot(0).resume());
  ASSERT_TRUE(slot(0).pause());
  EXPECT_EQ(run(victim({"spin", "20"})).verdict(), Verdict::ok);
  ASSERT_TRUE(slot(0).resume());
  EXPECT_EQ(run(victim({"spin", "20"})).verdict(), Verdict::ok);
}

TEST_F(FreezerTest, APausedStepDiesWithItsSlot) {
  StartedStep step(slot(0), victim({"sleep", "60000"}));
  ASSERT_GT(step.program(), 0);
  ASSERT_TRUE(slot(0).pause());
  ASSERT_TRUE(becomes(step, true));
  ASSERT_EQ(kill(parent_of(parent_of(step.program())), SIGKILL), 0);
  EXPECT_EQ(slot(0).finish().error().kind, core::ErrorKind::unavailable);
  auto replacement = launcher().next_slot();
  ASSERT_TRUE(replacement) << replacement.error().what;
  slot(0) = std::move(*replacement);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(victim({"exit", "0"})).verdict(), Verdict::ok);
  EXPECT_TRUE(ends(step.program()));
}

// With the launcher nobody is left who would thaw: the slot does it in dying.
TEST_F(FreezerTest, APausedStepDiesWithItsLauncher) {
  auto config = SandboxTest::config();
  config.slots = 1;
  config.cgroup_parent = "bailiff-freezer-test";
  auto own = Launcher::start(config);
  ASSERT_TRUE(own) << own.error().what;
  auto own_slot = own->next_slot();
  ASSERT_TRUE(own_slot);
  StartedStep step(*own_slot, victim({"sleep", "60000"}));
  ASSERT_GT(step.program(), 0);
  const std::string group = step.group(&ControllerPaths::freezer);
  ASSERT_TRUE(own_slot->pause());
  ASSERT_TRUE(becomes(step, true));
  ASSERT_EQ(kill(own->pid(), SIGKILL), 0);
  EXPECT_TRUE(ends(step.program()));
  EXPECT_EQ(access(group.c_str(), F_OK), 0);
  // The next launcher of that name removes the groups.
  auto next = Launcher::start(config);
  ASSERT_TRUE(next) << next.error().what;
  EXPECT_NE(access(group.c_str(), F_OK), 0);
}

TEST_F(FreezerTest, APausedStepDiesWithItsCaller) {
  auto config = SandboxTest::config();
  config.slots = 1;
  auto started = Launcher::start(config);
  ASSERT_TRUE(started) << started.error().what;
  std::optional<Launcher> own = std::move(*started);
  auto own_slot = own->next_slot();
  ASSERT_TRUE(own_slot);
  StartedStep step(*own_slot, victim({"spin_forever"}));
  ASSERT_GT(step.program(), 0);
  const std::string group = step.group(&ControllerPaths::freezer);
  ASSERT_TRUE(own_slot->pause());
  ASSERT_TRUE(becomes(step, true));
  own.reset();
  EXPECT_TRUE(ends(step.program()));
  EXPECT_NE(access(group.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
