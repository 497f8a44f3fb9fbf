#pragma once
// What a host has of Bailiff's: counted before and after, so that a test can prove that nothing is left.
#include <sys/types.h>

#include <map>
#include <set>
#include <string>

namespace bailiff::system_tests {

/// A process as it cannot be confused with a later one of the same number.
struct ProcessId {
  pid_t pid = 0;
  std::string start_time;
  auto operator<=>(const ProcessId&) const = default;
};

/// All below `root`, itself included.
std::set<ProcessId> processes_below(pid_t root);
std::set<pid_t> children_of(pid_t parent);
bool is_alive(const ProcessId& process);

/// Every cgroup directory, in any hierarchy, whose path has a component that begins with `name`.
std::set<std::string> cgroups_named(const std::string& name);
/// The lines of this process's mount table without their ids.
std::set<std::string> mounts();
std::size_t open_descriptors(pid_t pid);

}  // namespace bailiff::system_tests
