#pragma once
// What callers may ask of a slot while a program runs in it: a look at its sandbox, a command beside it.
#include "sandbox/companions.h"
#include "sandbox/exec.h"
#include "sandbox/socket.h"

namespace bailiff::sandbox {

class Beside {
 public:
  explicit Beside(ExecSite site) : site_(std::move(site)) {}
  /// Serves a message of exec_message.h in a child of its own; anything else is ignored. Returns at once. `paused`: the sandbox is frozen,
  /// and so would be whoever joins it. `samples`: what a look tells of the time until now.
  void serve(Message& message, bool paused, const std::vector<core::UsageSample>& samples);
  /// Ends what it serves and waits. Nothing of it is alive in the sandbox afterwards.
  core::Status end();

 private:
  void exec(const std::string& bytes, core::Fd answer);
  void inspect(core::Fd answer, const std::vector<core::UsageSample>& samples);

  ExecSite site_;
  Companions execs_{kMaxExecs}, inspections_{4};
};

}  // namespace bailiff::sandbox
