#pragma once
// /work: a capped tmpfs that the slot makes and shows to one sandbox after the other of the same job.
#include <string>

#include "core/fd.h"
#include "core/limits.h"
#include "core/result.h"

namespace bailiff::sandbox {

class Workspace {
 public:
  /// `directory` is an empty directory in the slot's private mount namespace; `owner` the host id of the program.
  Workspace(std::string directory, std::uint32_t owner) : directory_(std::move(directory)), owner_(owner) {}
  Workspace(const Workspace&) = delete;
  ~Workspace() { drop(); }

  /// A fresh, empty one with these caps. One that was made ahead and never used is taken as it is where the caps agree.
  core::Status make(const core::Limits& limits);
  /// Mounts it at /work in the mount namespace of `process` (a prepared sandbox's init, whose program has not started).
  core::Status show_to(pid_t process);
  /// Gives up what is in it.
  void drop();
  [[nodiscard]] bool exists() const { return mounted_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  std::uint32_t owner_;
  bool mounted_ = false, used_ = false;
  std::uint64_t bytes_ = 0, inodes_ = 0;
};

}  // namespace bailiff::sandbox
