#pragma once
// The last steps between init and the program: session, descriptors, rlimits, ids, no_new_privs, seccomp, exec.
#include "sandbox/client.h"
#include "sandbox/init.h"

namespace bailiff::sandbox {

struct ProgramFds {
  int stdin_fd, stdout_fd, stderr_fd, control;
};

/// In the child that becomes the program. Reports `executing` or what failed on the control socket; does not return.
[[noreturn]] void become_program(const StepRequest& request, const ProgramFds& fds, const SeccompFilter& filter);

/// rlimits of a step, as {resource, soft and hard value}. Pure.
std::vector<std::pair<int, std::uint64_t>> step_rlimits(const core::Limits& limits);

}  // namespace bailiff::sandbox
