#pragma once
// A launcher with two slots for all tests, the victim program in every workspace, and a check after each test that nothing is left.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/client.h"

namespace bailiff::sandbox::testing {

/// Everything that a test looks at after a step.
struct Ran {
  core::Result<StepReport> report;
  std::string out, err;
  [[nodiscard]] const core::Outcome& outcome() const { return report->outcome; }
  [[nodiscard]] core::Verdict verdict() const { return report ? report->outcome.verdict : core::Verdict::internal_error; }
  [[nodiscard]] std::int64_t evidence(const std::string& name) const;
};

/// What of the host a sandbox could leave behind.
struct HostState {
  std::multiset<std::string> mounts;
  // How many groups below our launcher's: their names change from step to step (which station, which number).
  std::size_t cgroups = 0, descendants = 0, fds = 0;
  std::size_t owned = 0;  // processes, System V objects and files in shared directories that belong to a slot's ids
  bool operator==(const HostState&) const = default;
};
std::ostream& operator<<(std::ostream& out, const HostState& state);
HostState look_at_host();

std::string text_of(const std::string& path);
/// Where this program and what it needs lie.
std::string own_directory();

/// How many processes, System V objects and files in shared directories of this host belong to the ids of a launcher.
std::size_t count_owned(const LauncherConfig& config);

class SandboxTest : public ::testing::Test {
 public:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  /// Of the shared launcher, and for tests that start one of their own.
  static LauncherConfig config();

 protected:
  void SetUp() override;
  void TearDown() override;

  /// A request to run victim with these words, and small limits: 1 s CPU, 3 s wall, 64 MiB.
  static StepRequest victim(std::vector<std::string> words);
  static Ran run(StepRequest request, unsigned slot = 0);
  /// Runs the victim with these words, its limits changed by `limit`, and expects the verdict.
  static Ran attack(const std::vector<std::string>& words, core::Verdict verdict = core::Verdict::ok,
                    const std::function<void(core::Limits&)>& limit = {}, unsigned slot = 0);
  static Slot& slot(unsigned index);
  static Launcher& launcher();
};

/// A step that runs while the test looks at it from outside.
class StartedStep {
 public:
  /// Starts it in a slot and waits until the victim has been executed there, or has ended already.
  StartedStep(Slot& slot, StepRequest request);
  [[nodiscard]] pid_t program() const { return program_; }  // -1: it has ended
  /// The program's group in the hierarchy of this controller; "" where there is none.
  [[nodiscard]] std::string group(std::string ControllerPaths::* controller) const;
  /// Waits for its end.
  Ran finish();

 private:
  Slot& slot_;
  StepRequest request_;
  pid_t program_ = -1;
};

pid_t parent_of(pid_t process);
/// Waits until a process has ended (reaped or not); false when it does not.
bool ends(pid_t process);

/// "runtime_error, signal 11, …": for failure messages.
std::string describe(const Ran& ran);

}  // namespace bailiff::sandbox::testing
