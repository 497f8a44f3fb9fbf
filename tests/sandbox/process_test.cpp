// Processes and threads: no way of making them gets past the cap, and whatever is made is gone afterwards.
#include <csignal>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
using Words = std::vector<std::string>;

constexpr std::uint64_t kProcesses = 24;

void limit_processes(core::Limits& limits) {
  limits.processes = kProcesses;
  limits.cpu_time_us = 300'000;
  limits.wall_time_us = 60'000'000;
  limits.memory_bytes = 256 << 20;
}

TEST_F(SandboxTest, BombsOfEveryKindStayBelowTheCap) {
  for (const char* bomb : {"fork_bomb", "thread_bomb", "daemon_bomb", "sibling_bomb"}) {
    const auto ran = attack({bomb}, Verdict::time_limit_exceeded, limit_processes);
    EXPECT_GT(ran.evidence("pids_max_hits"), 0) << bomb;
    EXPECT_LE(ran.outcome().usage.processes_peak, kProcesses) << bomb;
  }
}

TEST_F(SandboxTest, ProcessesCountUntilTheyAreReaped) {
  for (const auto& words : std::vector<Words>{{"zombies"}, {"vfork_chain"}}) {
    const auto ran = attack(words, Verdict::ok, [](core::Limits& limits) {
      limit_processes(limits);
      limits.cpu_time_us = 20'000'000;
    });
    EXPECT_EQ(ran.out, std::to_string(kProcesses - 1) + "\n") << words.front();
    EXPECT_GT(ran.evidence("pids_max_hits"), 0) << words.front();
  }
}

TEST_F(SandboxTest, SignalsToEverybodyReachNobodyElse) {
  EXPECT_EQ(attack({"signal_everybody"}).out, "alive\n");
  const auto killed = attack({"signal_everybody", std::to_string(SIGKILL)}, Verdict::runtime_error);
  EXPECT_EQ(killed.outcome().signal, SIGKILL);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
