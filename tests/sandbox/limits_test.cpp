#include <csignal>
#include <future>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

TEST_F(SandboxTest, CpuTimeLimit) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"spin_forever"},
                                                                 {"spin_blocking_signals"},
                                                                 {"spin_in_children", "1000"},
                                                                 {"spin_in_threads", "3"},
                                                                 {"spin_in_daemon"},
                                                                 {"fork_bomb"}}) {
    auto request = victim(words);
    request.limits.cpu_time_us = 300'000;
    request.limits.wall_time_us = 20'000'000;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::time_limit_exceeded) << words.front() << " " << describe(ran);
    EXPECT_GT(ran.outcome().usage.cpu_us, 300'000U) << words.front();
  }
}

TEST_F(SandboxTest, CpuTimeBelowTheLimitIsAllowedAndMeasured) {
  auto request = victim({"spin", "200"});
  request.limits.cpu_time_us = 400'000;
  request.limits.wall_time_us = 20'000'000;
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_GE(ran.outcome().usage.cpu_us, 199'000U);
}

TEST_F(SandboxTest, WallTimeLimit) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"sleep", "60000"}, {"stop"}}) {
    auto request = victim(words);
    request.limits.wall_time_us = 200'000;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::wall_time_limit_exceeded) << words.front() << " " << describe(ran);
    EXPECT_GE(ran.outcome().usage.wall_us, 200'000U);
    EXPECT_LT(ran.outcome().usage.cpu_us, ran.outcome().usage.wall_us);
  }
}

TEST_F(SandboxTest, MemoryLimit) {
  struct Row {
    std::vector<std::string> words;
    Verdict verdict;
  };
  const Row rows[] = {{{"allocate", "40"}, Verdict::ok},
                      {{"allocate", "70"}, Verdict::memory_limit_exceeded},
                      {{"allocate", "1024"}, Verdict::memory_limit_exceeded},
                      {{"reserve", "10000"}, Verdict::ok},
                      {{"allocate_in_children", "12"}, Verdict::memory_limit_exceeded},
                      {{"fill_tmp", "100"}, Verdict::memory_limit_exceeded},
                      {{"fill_shm", "100"}, Verdict::memory_limit_exceeded},
                      {{"fill_work", "100"}, Verdict::memory_limit_exceeded},
                      {{"fill_memfd", "100"}, Verdict::memory_limit_exceeded}};
  for (const auto& row : rows) {
    auto request = victim(row.words);
    request.limits.wall_time_us = 20'000'000;
    request.limits.cpu_time_us = 10'000'000;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), row.verdict) << row.words.front() << " " << describe(ran);
    if (row.verdict == Verdict::memory_limit_exceeded) {
      EXPECT_GT(ran.evidence("oom_kill"), 0);
    }
  }
}

TEST_F(SandboxTest, MemoryPeakIsWhatWasTouchedPlusALittle) {
  constexpr std::uint64_t kMiB = 1 << 20;
  for (const std::uint64_t mib : {1, 16, 128}) {
    auto request = victim({"allocate", std::to_string(mib)});
    request.limits.memory_bytes = 256 * kMiB;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    EXPECT_GE(ran.outcome().usage.memory_peak_bytes, mib * kMiB);
    EXPECT_LT(ran.outcome().usage.memory_peak_bytes, mib * kMiB + 8 * kMiB);
  }
}

TEST_F(SandboxTest, StackLimit) {
  auto request = victim({"recurse"});
  request.limits.stack_bytes = 16 << 20;
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.outcome().signal, SIGSEGV) << describe(ran);
  EXPECT_GT(ran.outcome().usage.memory_peak_bytes, 15U << 20);
}

TEST_F(SandboxTest, ProcessLimit) {
  for (const std::uint64_t limit : {1, 5, 50}) {
    auto request = victim({"count_forks"});
    request.limits.processes = limit;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    EXPECT_EQ(ran.out, std::to_string(limit - 1) + " EAGAIN\n");
    EXPECT_GT(ran.evidence("pids_max_hits"), 0);
    if (ran.outcome().usage.processes_peak != 0) {  // this kernel counts
      EXPECT_EQ(ran.outcome().usage.processes_peak, limit);
    }
  }
  auto threads = victim({"count_threads"});
  threads.limits.processes = 20;
  EXPECT_EQ(run(std::move(threads)).out, "19\n");
}

TEST_F(SandboxTest, OutputLimit) {
  struct Row {
    const char* name;
    std::uint64_t bytes;
    Verdict verdict;
  };
  const std::uint64_t limit = 100'000;
  const Row rows[] = {{"write_out", limit, Verdict::ok},
                      {"write_out", limit + 1, Verdict::output_limit_exceeded},
                      {"write_err", limit, Verdict::ok},
                      {"write_err", limit + 1, Verdict::output_limit_exceeded},
                      {"write_forever", 0, Verdict::output_limit_exceeded}};
  for (const auto& row : rows) {
    auto request = victim({row.name, std::to_string(row.bytes)});
    request.limits.output_bytes = limit;
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), row.verdict) << row.name << row.bytes << " " << describe(ran);
    EXPECT_EQ(ran.out.size() + ran.err.size(), limit);
    EXPECT_EQ(ran.outcome().stdout_truncated || ran.outcome().stderr_truncated, row.verdict != Verdict::ok);
  }
}

TEST_F(SandboxTest, FileAndWorkspaceLimits) {
  auto file = victim({"fill_work", "3"});
  file.limits.file_bytes = 2 << 20;
  EXPECT_EQ(run(std::move(file)).outcome().signal, SIGXFSZ);
  auto space = victim({"fill_work", "20"});
  space.limits.workspace_bytes = 8 << 20;
  EXPECT_EQ(run(std::move(space)).out, "ENOSPC\n");
  auto inodes = victim({"make_files", "1000"});
  inodes.limits.workspace_inodes = 64;
  EXPECT_EQ(run(std::move(inodes)).out, "62 ENOSPC\n");  // the root and the victim's own file are in it too
  auto too_small = victim({"exit", "0"});
  too_small.limits.workspace_bytes = 64 << 10;
  const auto ran = run(std::move(too_small));
  EXPECT_EQ(ran.verdict(), Verdict::runtime_error);
  EXPECT_NE(ran.outcome().message.find("do not fit"), std::string::npos) << describe(ran);
}

TEST_F(SandboxTest, InnocentNeighbourNoticesNothing) {
  const auto innocent_request = [] {
    auto request = victim({"spin", "100"});
    request.limits.wall_time_us = 20'000'000;
    return request;
  };
  const auto alone = run(innocent_request(), 1).outcome().usage.cpu_us;
  for (const char* attack : {"fork_bomb", "write_forever", "spin_forever"}) {
    auto attacker = victim({attack});
    attacker.limits.cpu_time_us = 500'000;
    attacker.limits.output_bytes = 8 << 20;
    auto attacked = std::async(std::launch::async, [&] { return run(std::move(attacker), 0); });
    const auto neighbour = run(innocent_request(), 1);
    EXPECT_EQ(neighbour.verdict(), Verdict::ok) << attack << " " << describe(neighbour);
    EXPECT_LT(neighbour.outcome().usage.cpu_us, 2 * alone) << attack;
    EXPECT_NE(attacked.get().verdict(), Verdict::ok) << attack;
  }
}

}  // namespace
}  // namespace bailiff::sandbox::testing
