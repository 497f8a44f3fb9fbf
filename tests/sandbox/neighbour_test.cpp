// An innocent program in one slot while another slot is under attack: the same verdict, and no more CPU time beyond noise.
#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

constexpr int kRuns = 3;
constexpr std::uint64_t kNoise = 2;  // generous: caches, memory bandwidth and the other thread of a core are shared

class NeighbourTest : public SandboxTest {
 protected:
  /// Median CPU time of a fixed amount of work in slot 1.
  static std::uint64_t innocent_cpu_us() {
    std::array<std::uint64_t, kRuns> times{};
    for (auto& time : times) {
      const auto ran =
          attack({"work", "40"}, Verdict::ok, [](core::Limits& limits) { limits.cpu_time_us = limits.wall_time_us = 120'000'000; }, 1);
      EXPECT_EQ(ran.out, expected_);
      time = ran.outcome().usage.cpu_us;
    }
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return times.at(kRuns / 2);
  }

  /// The same while slot 0 runs the attack, over and over.
  static std::uint64_t attacked_cpu_us(const std::vector<std::string>& words) {
    std::atomic<bool> done = false;
    std::atomic<int> attacks = 0;
    std::thread attacker([&] {
      for (; !done || attacks == 0; ++attacks) {
        auto request = victim(words);
        request.limits.cpu_time_us = 300'000;
        request.limits.wall_time_us = 20'000'000;
        request.limits.output_bytes = 16 << 20;
        request.limits.workspace_inodes = 1'000'000;
        EXPECT_NE(run(std::move(request), 0).verdict(), Verdict::internal_error);
      }
    });
    const auto cpu_us = innocent_cpu_us();
    done = true;
    attacker.join();
    return cpu_us;
  }

  static void SetUpTestSuite() {
    SandboxTest::SetUpTestSuite();
    expected_ =
        attack({"work", "40"}, Verdict::ok, [](core::Limits& limits) { limits.cpu_time_us = limits.wall_time_us = 120'000'000; }, 1).out;
  }

 private:
  static inline std::string expected_;
};

TEST_F(NeighbourTest, NoticesNothing) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"fork_bomb"},
                                                                 {"thread_bomb"},
                                                                 {"daemon_bomb"},
                                                                 {"threads", "8", "9000"},
                                                                 {"allocate", "1024"},
                                                                 {"many_small", "100", "8"},
                                                                 {"fill_pipes", "400"},
                                                                 {"fill_tcp", "400"},
                                                                 {"system_v_shared_memory", "400"},
                                                                 {"flood", "write", "both", "0"},
                                                                 {"empty_files", "/work", "1000000"},
                                                                 {"deep_tree", "10000"},
                                                                 {"read_image", "400"}}) {
    bool unharmed = false;
    std::uint64_t quiet = 0, attacked = 0;
    for (int tries = 0; tries < 2 && !unharmed; ++tries) {
      quiet = innocent_cpu_us();
      attacked = attacked_cpu_us(words);
      unharmed = attacked <= kNoise * quiet;
    }
    EXPECT_TRUE(unharmed) << words.front() << ": " << quiet << " us of CPU time in quiet, " << attacked << " us under attack";
  }
}

}  // namespace
}  // namespace bailiff::sandbox::testing
