#pragma once
// What a program did, by the kernel's own figures. Ours to produce in sandbox/, everybody's to read.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/verdict.h"

namespace bailiff::core {

/// From the step's cgroup; times in microseconds. Our own set-up before the program's exec is not in it.
struct Usage {
  std::uint64_t cpu_us = 0, cpu_user_us = 0, cpu_system_us = 0;
  std::uint64_t wall_us = 0;
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t processes_peak = 0;  // 0: this kernel does not tell
};

/// A look at a step's groups while it runs.
struct UsageSample {
  std::uint64_t wall_us = 0, cpu_us = 0;  // since it began, pauses left out
  std::uint64_t memory_bytes = 0, processes = 0;  // at that moment
};
inline constexpr std::size_t kMostUsageSamples = 256;

/// Kernel counters behind the verdict, in order of interest: oom_kill, pids_max_hits, throttled_ms …
using Evidence = std::vector<std::pair<std::string, std::int64_t>>;

/// How one program ended.
struct Outcome {
  Verdict verdict = Verdict::internal_error;
  std::optional<int> exit_code;  // exactly one of the two when the program ended by itself;
  std::optional<int> signal;     // none when it never started or was ended by us
  std::string message;           // one line for a person; empty where the verdict says it all
  Usage usage;
  Evidence evidence;
  bool stdout_truncated = false, stderr_truncated = false;
  std::vector<UsageSample> samples;  // in order; none of a step that was over before the first look
};

}  // namespace bailiff::core
