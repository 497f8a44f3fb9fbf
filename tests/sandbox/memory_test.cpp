// Memory of every kind: at the limit, just past it, far past it.
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

constexpr std::uint64_t kMiB = 1 << 20, kLimitMiB = 64;

class MemoryTest : public SandboxTest {
 protected:
  static Ran run_with(const std::vector<std::string>& words, Verdict verdict) {
    return attack(words, verdict, [](core::Limits& limits) {
      limits.memory_bytes = kLimitMiB * kMiB;
      limits.stack_bytes = 1024 * kMiB;
      limits.cpu_time_us = 20'000'000;
      limits.wall_time_us = 60'000'000;
      limits.workspace_bytes = 512 * kMiB;
      limits.processes = 256;
    });
  }
};

TEST_F(MemoryTest, EveryKindIsCountedAndLimited) {
  for (const char* kind : {"allocate", "allocate_in_pieces", "map_shared", "static_array", "use_stack", "fill_work", "fill_tmp", "fill_shm",
                           "fill_memfd", "posix_shared_memory", "system_v_shared_memory", "system_v_messages", "system_v_semaphores",
                           "page_tables", "fill_pipes", "fill_unix_sockets", "send_files_away"}) {
    SCOPED_TRACE(kind);
    // The victim itself lies in the workspace, which is memory too.
    const auto allowed = run_with({kind, "52"}, Verdict::ok);
    EXPECT_GE(allowed.outcome().usage.memory_peak_bytes, 52 * kMiB);
    EXPECT_EQ(allowed.evidence("oom_kill"), 0);
    for (const char* too_much : {"68", "180"}) {
      const auto ran = run_with({kind, too_much}, Verdict::memory_limit_exceeded);
      EXPECT_GT(ran.evidence("oom_kill"), 0) << too_much;
      EXPECT_LE(ran.outcome().usage.memory_peak_bytes, kLimitMiB * kMiB) << too_much;
    }
  }
}

TEST_F(MemoryTest, NetworkBuffersAreLimitedToo) {
  EXPECT_EQ(run_with({"fill_tcp", "20"}, Verdict::ok).verdict(), Verdict::ok);
  const auto ran = run(victim({"fill_tcp", "1000"}));
  EXPECT_NE(ran.verdict(), Verdict::ok) << describe(ran);
}

TEST_F(MemoryTest, WhatIsNotTouchedIsNotUsed) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"reserve", "10000"}, {"reserve_writable", "10000"}, {"read_untouched", "180"}, {"static_array", "0"}}) {
    const auto ran = run_with(words, Verdict::ok);
    EXPECT_LT(ran.outcome().usage.memory_peak_bytes, 16 * kMiB) << words.front();
  }
}

TEST_F(MemoryTest, ManySmallProcessesCountTogether) {
  EXPECT_GE(run_with({"many_small", "24", "2"}, Verdict::ok).outcome().usage.memory_peak_bytes, 48 * kMiB);
  run_with({"many_small", "40", "2"}, Verdict::memory_limit_exceeded);
  run_with({"many_small", "200", "8"}, Verdict::memory_limit_exceeded);
}

TEST_F(MemoryTest, AChildThatIsKilledForItsMemoryEndsTheStep) {
  const auto ran = run_with({"greedy_child", "180"}, Verdict::memory_limit_exceeded);
  EXPECT_FALSE(ran.outcome().exit_code);
}

TEST_F(MemoryTest, FilesThatAreReadAreGivenBackUnderPressure) {
  const auto ran = run_with({"read_image", "160"}, Verdict::ok);
  EXPECT_EQ(ran.evidence("oom_kill"), 0);
  EXPECT_LE(ran.outcome().usage.memory_peak_bytes, kLimitMiB * kMiB);
}

TEST_F(MemoryTest, HugePagesOfTheHostAreOutOfReach) {
  EXPECT_EQ(run_with({"huge_pages"}, Verdict::ok).out, "memfd_create: ENOMEM\nmmap: ENOMEM\nshmget: EPERM\n");
}

}  // namespace
}  // namespace bailiff::sandbox::testing
