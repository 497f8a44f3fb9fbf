#pragma once
// Pausing a group: none of its processes runs until it is thawed. The kernel stops each process at its next return to user mode.
//  v1 (freezer.state): what is frozen does not die, not even of SIGKILL, until it is thawed.
//  v2 (cgroup.freeze): what is frozen can be killed.
// Sources: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst ("cgroup.freeze").
#include <string>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

/// A group of the v1 freezer hierarchy, as its slot sees it.
class FreezerV1 {
 public:
  /// Until thaw(), the death of this process's parent thaws the group and then ends this process (whose death signal is SIGKILL before and
  /// after): the frozen processes die with it then, instead of staying for ever. One group at a time in a process.
  core::Status freeze(const std::string& group);
  /// Harmless where nothing is frozen.
  core::Status thaw();
  [[nodiscard]] bool frozen() const { return state_.valid(); }

 private:
  core::Fd state_;  // while frozen
};

/// Thaws a group whose slot is dead. Nothing where it is not of the freezer hierarchy.
void thaw_left_v1(const std::string& group);

core::Status set_frozen_v2(const std::string& group, bool frozen);

}  // namespace bailiff::sandbox
