#pragma once
// CPUs that a slot is pinned to. What runs there sees no other in sched_getaffinity, and cannot get at another.
// Sources: Documentation/admin-guide/cgroup-v1/cpusets.rst, cgroup-v2.rst ("Cpuset"), cpuset(7) ("List format").
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::sandbox {

/// "0-3,5"; nothing for what is no such list, or names a CPU beyond any kernel's.
std::optional<std::set<unsigned>> parse_cpu_list(std::string_view list);

/// ErrorKind::invalid: `wanted` is no list, or names CPUs that are not in `available`. The kernel may take these silently, and let the
/// program run anywhere.
core::Status check_cpus(std::string_view wanted, std::string_view available);

/// v1: a cpuset without CPUs and memory nodes takes no process, on every level; so `base` gets what its parent has, and `group` too, with
/// `cpus` for its CPUs where they are not empty.
core::Status set_cpuset_v1(const std::string& base, const std::string& group, const std::string& cpus);

}  // namespace bailiff::sandbox
