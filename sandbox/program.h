#pragma once
// The process that becomes the program. Made while nobody waits, it drops everything (session, ids, capabilities, no_new_privs, seccomp)
// and waits; at "go" it takes the request, unpacks the files as the program's own user, and executes. So on the way from request to
// program there is neither a fork nor the installation of a filter.
#include "core/limits.h"
#include "sandbox/init.h"

namespace bailiff::sandbox {

struct ParkedProgram {
  int control, stdout_pipe, stderr_pipe;  // control: SOCK_SEQPACKET to the slot
  std::uint64_t clock_offset_ns;          // told with `prepared`
  const SeccompFilter* filter;
};

/// Reports `prepared`, then `executing` or what failed; does not return.
[[noreturn]] void become_program(const ParkedProgram& parked);

/// As {resource, soft and hard value}.
using RlimitList = std::vector<std::pair<int, std::uint64_t>>;
/// What every program runs under, and what its limits say. Pure.
RlimitList fixed_rlimits();
RlimitList step_rlimits(const core::Limits& limits);

}  // namespace bailiff::sandbox
