#pragma once
// A /work that outlives its sandbox: the workspace of one step, shown to the next step of the same job. Every sandbox has a fresh one of
// its own; a kept one is mounted over it.
#include <sys/types.h>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

class Workspace {
 public:
  /// Keeps what is at /work in a prepared sandbox (given by its init, whose program has not started), instead of what was kept before.
  core::Status keep(pid_t init);
  /// Mounts what is kept at /work in such a sandbox. It is kept no longer, unless keep() takes it from there again.
  core::Status show_to(pid_t init);
  void drop() { kept_.reset(); }
  [[nodiscard]] bool exists() const { return kept_.valid(); }

 private:
  core::Fd kept_;  // a detached mount
};

}  // namespace bailiff::sandbox
