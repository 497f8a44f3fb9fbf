#pragma once
// The system-call filter: compiled once by libseccomp, installed before every program as raw BPF.
#include <linux/filter.h>

#include <vector>

#include "core/result.h"

namespace bailiff::sandbox {

using BpfProgram = std::vector<sock_filter>;

struct SeccompFilter {
  std::vector<BpfProgram> programs;  // the kernel takes the strictest answer of all
};

/// Compiles the filter. What a program legitimately uses is allowed; privileged and namespace calls fail with EPERM; what the allow-list
/// does not know fails with ENOSYS, so that libraries fall back; any other architecture's entry points (int 0x80, x32) kill the process.
core::Result<SeccompFilter> compile_seccomp_filter();
/// Installs it for this process and all it starts; needs no_new_privs. Allocates nothing. 0 or an errno.
int install_seccomp_filter(const SeccompFilter& filter) noexcept;

}  // namespace bailiff::sandbox
