// Every limit at the values where things go wrong: 0, just below and above what is allowed, at both ends of it, huge. And the limits as
// the kernel has them while a program runs.
#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

class LimitValuesTest : public SandboxTest {
 protected:
  static core::Result<StepReport> run_with(const core::LimitField& field, std::uint64_t value) {
    auto request = victim({"exit", "0"});
    request.limits = core::default_limits();
    request.limits.*field.member = value;
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    return slot(0).run(request);
  }
};

TEST_F(LimitValuesTest, OutsideTheAllowedAreRefused) {
  for (const auto& field : core::kLimitFields) {
    std::vector<std::uint64_t> values;
    if (field.floor > 0) values.push_back(field.floor - 1);
    if (!field.zero_is_none) {
      values.insert(values.end(), {field.ceiling + 1, 2 * field.ceiling, 1ULL << 63, UINT64_MAX - 1, UINT64_MAX});
      if (field.floor > 0) values.push_back(0);
    }
    for (const auto value : values) {
      const auto report = run_with(field, value);
      ASSERT_FALSE(report) << field.name << " " << value;
      EXPECT_EQ(report.error().kind, core::ErrorKind::invalid) << field.name << " " << value;
      EXPECT_NE(report.error().what.find(field.name), std::string::npos) << report.error().what;
    }
  }
}

TEST_F(LimitValuesTest, TheLargestAllowedWork) {
  for (const auto& field : core::kLimitFields) {
    const auto report = run_with(field, field.ceiling);
    ASSERT_TRUE(report) << field.name << ": " << report.error().what;
    EXPECT_EQ(report->outcome.verdict, Verdict::ok) << field.name << ": " << report->outcome.message;
  }
}

/// Next to nothing of one thing: the program may fail for it, the sandbox may not.
TEST_F(LimitValuesTest, TheSmallestAllowedGiveAVerdict) {
  for (const auto& field : core::kLimitFields)
    for (const std::uint64_t value : {field.floor, field.floor + 1}) {
      if (field.zero_is_none) continue;  // caps on I/O need a disk (cgroup_io_test.cpp)
      const auto report = run_with(field, value);
      ASSERT_TRUE(report) << field.name << ": " << report.error().what;
      EXPECT_NE(report->outcome.verdict, Verdict::internal_error) << field.name << ": " << report->outcome.message;
    }
  EXPECT_EQ(attack({"exit", "0"}).verdict(), Verdict::ok);
}

/// The value of a file in the group of the running step.
std::string group_file(const std::string& group, const std::string& file) { return read_kernel_file(group + "/" + file).value_or("none"); }

TEST_F(LimitValuesTest, TheKernelHasThemAndSwapIsNone) {
  auto request = victim({"sleep", "60000"});
  request.limits.memory_bytes = 100 << 20;
  request.limits.wall_time_us = 60'000'000;
  StartedStep step(slot(0), std::move(request));
  ASSERT_GT(step.program(), 0);
  const auto group = step.group(&ControllerPaths::memory);
  ASSERT_FALSE(group.empty());
  if (const auto limit = group_file(group, "memory.max"); limit != "none") {
    EXPECT_GE(std::stoull(limit), 100U << 20);
    EXPECT_LT(std::stoull(limit), 108U << 20);  // what was there before the program is on top
    EXPECT_EQ(std::stoull(group_file(group, "memory.swap.max")), 0U);
    EXPECT_EQ(std::stoull(group_file(group, "memory.oom.group")), 1U);
  } else {
    const auto memory = std::stoull(group_file(group, "memory.limit_in_bytes"));
    EXPECT_GE(memory, 100U << 20);
    EXPECT_LT(memory, 108U << 20);
    const auto with_swap = group_file(group, "memory.memsw.limit_in_bytes");
    if (with_swap == "none") EXPECT_EQ(std::stoull(group_file(group, "memory.swappiness")), 0U);
    else EXPECT_EQ(std::stoull(with_swap), memory);
  }
  // The kernel's OOM killer takes it before anything of the host's.
  EXPECT_EQ(std::stoi(text_of("/proc/" + std::to_string(step.program()) + "/oom_score_adj")), 1000);
  ASSERT_TRUE(slot(0).cancel());
  EXPECT_EQ(step.finish().verdict(), Verdict::cancelled);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
