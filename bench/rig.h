#pragma once
// The sandbox as the benchmarks use it: a launcher of their own and the test programs of tests/sandbox/victim.cpp. A benchmark has no
// use for half a result, so everything here ends the process with a message where something goes wrong.
#include <string>
#include <vector>

#include "sandbox/client.h"

namespace bailiff::bench {

/// Says why, and exits.
[[noreturn]] void give_up(const std::string& why);

/// Everything up: each slot has run a few steps. Make it before any thread exists.
class Rig {
 public:
  /// `slot_cpus` as in sandbox::LauncherConfig.
  explicit Rig(unsigned slots, std::vector<std::string> slot_cpus = {});
  [[nodiscard]] sandbox::Slot& slot(unsigned index) { return slots_.at(index); }
  [[nodiscard]] pid_t launcher() const { return launcher_.pid(); }

 private:
  sandbox::Launcher launcher_;
  std::vector<sandbox::Slot> slots_;
};

/// For programs that shall not meet a limit by accident: 60 s of CPU and wall time.
core::Limits wide_limits();

/// A request for a program of the host, or for a victim: `{"victim", NAME, ARG…}`.
sandbox::StepRequest request_for(std::vector<std::string> argv, const core::Limits& limits);

struct Ran {
  core::Outcome outcome;
  std::string out;
  [[nodiscard]] std::int64_t evidence(const std::string& name) const;  // 0 where there is none of that name
};
/// Any outcome is fine, but not a failure of the sandbox.
Ran run(sandbox::Slot& slot, sandbox::StepRequest request);
/// As run(), and the verdict must be ok.
Ran run_well(sandbox::Slot& slot, sandbox::StepRequest request);

}  // namespace bailiff::bench
