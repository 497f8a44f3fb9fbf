#pragma once
// A step that runs while a test asks for something beside it.
#include <optional>
#include <string>
#include <vector>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {

class BesideStep {
 public:
  /// Starts it in the slot; with `until`, waits until it has printed that.
  BesideStep(Slot& slot, StepRequest request, const std::string& until = "");
  BesideStep(const BesideStep&) = delete;
  /// Cancels it where nobody took its report.
  ~BesideStep();
  [[nodiscard]] std::string out() const;
  core::Result<StepReport> finish();
  core::Result<StepReport> cancel();

 private:
  Slot& slot_;
  StepRequest request_;
  bool running_ = true;
};

/// How a command beside it went.
struct Exec {
  std::string out, err;
  core::Result<ExecEnd> end = core::error(core::ErrorKind::internal, "not run");
  [[nodiscard]] int exit_code() const { return end && end->exit_code ? *end->exit_code : -1; }
};

/// "/bin/sh -c script" as a step, with a minute of wall time.
StepRequest shell_step(StepRequest from, const std::string& script);
/// Everything it prints until nobody can write any more, and its end. `input` is its whole stdin (of a terminal: what is typed).
Exec run_beside(Slot& slot, ExecRequest request, const std::string& input = "");
/// The same once it was started.
Exec collect(ExecSession session, const std::string& input = "");
core::Result<ExecSession> start_beside(Slot& slot, const ExecRequest& request);
/// ["/work/victim", words …] with an empty environment.
ExecRequest victim_beside(std::vector<std::string> words);
ExecRequest shell_beside(const std::string& script);
core::Result<Inspection> inspect(Slot& slot);

}  // namespace bailiff::sandbox::testing
