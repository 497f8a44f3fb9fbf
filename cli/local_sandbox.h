#pragma once
// One slot of a launcher of our own: how `run` and `doctor` run programs on this machine.
#include <string>
#include <vector>

#include "cli/failure.h"
#include "core/job.h"
#include "images/catalogue.h"
#include "sandbox/client.h"

namespace bailiff::cli {

class InterruptWatch;

/// "the sandbox failed: …", and what to do about it.
[[nodiscard]] Failure sandbox_failure(const core::Error& error);

/// Requests in the language's image and environment: a tool of it (its compiler, its version command) under the default limits of compile
/// steps, and a program in it under those of run steps.
[[nodiscard]] sandbox::StepRequest tool_request(const images::Language& language, const std::vector<std::string>& argv);
[[nodiscard]] sandbox::StepRequest program_request(const images::Language& language);

/// Owns the launcher: all that it started ends with it. One thread; SIGINT and SIGTERM during a step cancel that step.
class LocalSlot {
 public:
  /// Needs root. An image is "host", the absolute path of an unpacked root filesystem, or "sha256-<hex>" of `images_directory`. Call before
  /// any thread exists.
  static Expected<LocalSlot> start(const std::vector<std::string>& images, sandbox::CgroupDriver driver,
                                   const std::string& images_directory = "");
  /// Captures the outputs and waits for the end.
  [[nodiscard]] Expected<core::StepResult> step(std::string name, sandbox::StepRequest request);

 private:
  LocalSlot(sandbox::Launcher launcher, sandbox::Slot slot) : launcher_(std::move(launcher)), slot_(std::move(slot)) {}
  Expected<bool> await(const InterruptWatch& interrupts, const core::Limits& limits);
  sandbox::Launcher launcher_;
  sandbox::Slot slot_;
};

}  // namespace bailiff::cli
