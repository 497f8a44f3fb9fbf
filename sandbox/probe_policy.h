#pragma once
// What may forbid to this process what the kernel has: sysctls, security modules, somebody else's seccomp filter, missing capabilities.
// Read from /proc and /sys alone.
#include <string>
#include <vector>

#include "sandbox/client.h"

namespace bailiff::sandbox {

/// One Capability for each policy, present where it leaves us alone. `root` as in probe_host().
std::vector<Capability> probe_policy(const std::string& root = "");

/// Why this host lets nobody but root make a user namespace; empty where it lets everybody.
std::string user_namespace_restriction(const std::string& root = "");

}  // namespace bailiff::sandbox
