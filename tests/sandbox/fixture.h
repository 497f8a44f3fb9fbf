#pragma once
// A launcher with two slots for all tests, the victim program in every workspace, and a check after each test that nothing is left.
#include <gtest/gtest.h>

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
  bool operator==(const HostState&) const = default;
};
std::ostream& operator<<(std::ostream& out, const HostState& state);
HostState look_at_host();

class SandboxTest : public ::testing::Test {
 public:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

 protected:
  void SetUp() override;
  void TearDown() override;

  /// A request to run victim with these words, and small limits: 1 s CPU, 3 s wall, 64 MiB.
  static StepRequest victim(std::vector<std::string> words);
  static Ran run(StepRequest request, unsigned slot = 0);
  /// That of the shared launcher, for tests that start one of their own.
  static LauncherConfig config();
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
