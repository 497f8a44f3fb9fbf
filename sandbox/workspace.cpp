#include "sandbox/workspace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

namespace bailiff::sandbox {

core::Status Workspace::make(const core::Limits& limits) {
  if (mounted_ && !used_ && bytes_ == limits.workspace_bytes && inodes_ == limits.workspace_inodes) return {};
  drop();
  const std::string owner = std::to_string(owner_);
  const std::string options = "size=" + std::to_string(limits.workspace_bytes) + ",nr_inodes=" + std::to_string(limits.workspace_inodes) +
                              ",mode=0755,uid=" + owner + ",gid=" + owner;
  if (mount("work", directory_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) return core::errno_error("mount workspace");
  mounted_ = true;
  used_ = false;
  bytes_ = limits.workspace_bytes;
  inodes_ = limits.workspace_inodes;
  return {};
}

core::Status Workspace::show_to(pid_t process) {
  used_ = true;
  const core::Fd own(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  const core::Fd theirs(open(("/proc/" + std::to_string(process) + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
  const core::Fd here(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid() || !theirs.valid() || !here.valid()) return core::errno_error("open mount namespace");
  const core::Fd copy(open_tree(AT_FDCWD, directory_.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!copy.valid()) return core::errno_error("open_tree");
  if (setns(theirs.get(), CLONE_NEWNS) != 0) return core::errno_error("setns to the sandbox");
  // No program has run in there yet, and its root is ours, so /work is what we made it.
  const int moved = move_mount(copy.get(), "", AT_FDCWD, "/work", MOVE_MOUNT_F_EMPTY_PATH);
  const int fault = errno;
  if (setns(own.get(), CLONE_NEWNS) != 0 || fchdir(here.get()) != 0) _exit(70);  // a slot in a program's namespace must not go on
  if (moved == 0) return {};
  errno = fault;
  return core::errno_error("move_mount workspace");
}

void Workspace::drop() {
  if (mounted_) (void)umount2(directory_.c_str(), MNT_DETACH);
  mounted_ = false;
}

}  // namespace bailiff::sandbox
