// CPU time and wall time, however a program spends them: below the limit, past it, for ever.
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
using Words = std::vector<std::string>;

constexpr std::uint64_t kCpuLimitUs = 400'000;

void limit_cpu(core::Limits& limits) {
  limits.cpu_time_us = kCpuLimitUs;
  limits.wall_time_us = 60'000'000;
}

TEST_F(SandboxTest, CpuTimeIsCountedWhereverItIsSpent) {
  // Words for half of the limit, for a quarter more than it, and for far more.
  const Words rows[][3] = {{{"spin", "200"}, {"spin", "500"}, {"spin", "60000"}},
                           {{"block_signals_and_spin", "200"}, {"block_signals_and_spin", "500"}, {"block_signals_and_spin", "60000"}},
                           {{"threads", "4", "50"}, {"threads", "10", "50"}, {"threads", "8", "9000"}},
                           {{"children", "4", "50"}, {"children", "10", "50"}, {"children", "40", "9000"}},
                           {{"children_in_turn", "10", "20"}, {"children_in_turn", "25", "20"}, {"children_in_turn", "3000", "20"}},
                           {{"daemon_works", "200"}, {"daemon_works", "500"}, {"daemon_works", "60000"}}};
  for (const auto& [below, past, far_past] : rows) {
    const auto allowed = attack(below, Verdict::ok, limit_cpu);
    EXPECT_GE(allowed.outcome().usage.cpu_us, kCpuLimitUs * 45 / 100) << below.front();
    for (const auto& words : {past, far_past}) {
      const auto ran = attack(words, Verdict::time_limit_exceeded, limit_cpu);
      EXPECT_GT(ran.outcome().usage.cpu_us, kCpuLimitUs) << words.front();
      EXPECT_LT(ran.outcome().usage.cpu_us, 2 * kCpuLimitUs) << words.front();
    }
  }
}

TEST_F(SandboxTest, WaitingForEverEndsWithTheWallTime) {
  for (const auto& words : std::vector<Words>{{"sleep", "60000"},
                                              {"stop"},
                                              {"wait_for", "stopped_with_children"},
                                              {"wait_for", "traced_child"},
                                              {"wait_for", "input"},
                                              {"wait_for", "pipe"},
                                              {"wait_for", "full_pipe"},
                                              {"wait_for", "child"},
                                              {"wait_for", "vfork"},
                                              {"wait_for", "closed_stdio", "60000"}}) {
    const auto ran = attack(words, Verdict::wall_time_limit_exceeded, [](core::Limits& limits) {
      limits.wall_time_us = 400'000;
      limits.cpu_time_us = 20'000'000;
    });
    EXPECT_GE(ran.outcome().usage.wall_us, 400'000U) << words.back();
    // It waits: what it uses is its start, which takes long where the CPU is emulated.
    EXPECT_LT(ran.outcome().usage.cpu_us, ran.outcome().usage.wall_us * 3 / 4) << words.back();
    EXPECT_FALSE(ran.outcome().signal || ran.outcome().exit_code) << words.back();
  }
}

TEST_F(SandboxTest, WallTimeBelowTheLimitIsAllowedAndMeasured) {
  const auto ran = attack({"sleep", "200"}, Verdict::ok, [](core::Limits& limits) { limits.wall_time_us = 20'000'000; });
  EXPECT_GE(ran.outcome().usage.wall_us, 200'000U);
}

/// User and system time that the launcher's slots have used, in clock ticks.
long ticks_of_slots(pid_t launcher) {
  long ticks = 0;
  std::ifstream children("/proc/" + std::to_string(launcher) + "/task/" + std::to_string(launcher) + "/children");
  for (pid_t slot = 0; children >> slot;) {
    std::ifstream file("/proc/" + std::to_string(slot) + "/stat");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::vector<std::string> words;
    for (std::string word; fields >> word;) words.push_back(word);
    ticks += std::stol(words.at(11)) + std::stol(words.at(12));
  }
  return ticks;
}

TEST_F(SandboxTest, WhoeverClosesItsOutputsDoesNotMakeTheSlotSpin) {
  const long before = ticks_of_slots(launcher().pid());
  const auto ran = attack({"wait_for", "closed_stdio", "600"});
  EXPECT_EQ(ran.out, "");
  EXPECT_LT(ticks_of_slots(launcher().pid()) - before, sysconf(_SC_CLK_TCK) * 3 / 10);  // half of the time that it waited
}

}  // namespace
}  // namespace bailiff::sandbox::testing
