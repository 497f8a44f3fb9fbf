#pragma once
// A running sandbox as the kernel shows it from outside: namespaces (ioctl_ns(2)), groups, processes.
#include <sys/types.h>

#include <string>
#include <vector>

#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::sandbox {

/// `init` is a child of the calling process, or of its parent, that is not yet reaped; `groups` as Station::groups tells them.
core::Result<Inspection> inspect_sandbox(pid_t init, const std::vector<std::string>& groups);

}  // namespace bailiff::sandbox
