#include "sandbox/workspace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>

namespace bailiff::sandbox {
namespace {

/// Does `act` in the mount namespace of a sandbox in which no program has run yet, and whose root is ours, so that /work is what we made
/// it. `act` returns 0 or sets errno.
template <class Act>
core::Status in_mount_namespace(pid_t init, const char* what, const Act& act) {
  const core::Fd own(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  const core::Fd theirs(open(("/proc/" + std::to_string(init) + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
  const core::Fd here(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid() || !theirs.valid() || !here.valid()) return core::errno_error("open mount namespace");
  if (setns(theirs.get(), CLONE_NEWNS) != 0) return core::errno_error("setns to the sandbox");
  const int done = act();
  const int fault = errno;
  if (setns(own.get(), CLONE_NEWNS) != 0 || fchdir(here.get()) != 0) _exit(70);  // a slot in a program's namespace must not go on
  if (done == 0) return {};
  errno = fault;
  return core::errno_error(what);
}

}  // namespace

core::Status Workspace::keep(pid_t init) {
  return in_mount_namespace(init, "open_tree of the workspace", [&] {
    kept_ = core::Fd(open_tree(AT_FDCWD, "/work", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    return kept_.valid() ? 0 : -1;
  });
}

core::Status Workspace::show_to(pid_t init) {
  auto shown = in_mount_namespace(init, "move_mount of the workspace",
                                  [&] { return move_mount(kept_.get(), "", AT_FDCWD, "/work", MOVE_MOUNT_F_EMPTY_PATH); });
  drop();
  return shown;
}

}  // namespace bailiff::sandbox
