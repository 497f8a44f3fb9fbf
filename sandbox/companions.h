#pragma once
// Companions: children of the slot that serve callers while a step runs, so that nothing they do holds up its supervision. Bounded in
// number, and none outlives the step.
#include <functional>
#include <vector>

#include <sys/types.h>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

class Companions {
 public:
  explicit Companions(std::size_t at_most) : at_most_(at_most) {}
  Companions(const Companions&) = delete;
  /// end(); what does not end in time is killed.
  ~Companions() { (void)end(); }

  /// Forks a child that runs `serve`, which must not return. Its leash hangs up when the child is to end itself, which is also what
  /// happens when the slot dies. The child is not dumpable. ErrorKind::unavailable: there are as many as there may be.
  core::Status start(const std::function<void(core::Fd leash)>& serve);
  /// Ends all of them and waits. An error where one had to be killed: what it was in charge of may still be there.
  core::Status end();

 private:
  struct Companion {
    pid_t pid;
    core::Fd leash, pidfd;
  };
  void reap_ended();

  std::size_t at_most_;
  std::vector<Companion> running_;
};

}  // namespace bailiff::sandbox
