#pragma once
// The system-call filter: compiled once by libseccomp, compacted, installed before every program as raw BPF.
#include <linux/filter.h>

#include <vector>

#include "core/result.h"

namespace bailiff::sandbox {

using BpfProgram = std::vector<sock_filter>;

struct SeccompFilter {
  BpfProgram program;
};

/// Compiles the filter. What a program legitimately uses is allowed; privileged and namespace calls fail with EPERM; what the allow-list
/// does not know fails with ENOSYS, so that libraries fall back; any other architecture's entry points (int 0x80, x32) kill the process.
core::Result<SeccompFilter> compile_seccomp_filter();
/// What it is compacted from: programs of libseccomp's own, of which the strictest decision holds.
core::Result<std::vector<BpfProgram>> compile_seccomp_lists();
/// Installs it for this process and all it starts; needs no_new_privs. Allocates nothing. 0 or an errno.
int install_seccomp_filter(const SeccompFilter& filter) noexcept;

}  // namespace bailiff::sandbox
