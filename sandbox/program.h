#pragma once
// The process that becomes the program. Made while nobody waits, it drops everything (session, ids, capabilities, no_new_privs, seccomp)
// and waits; at "go" it takes the request, unpacks the files as the program's own user, and executes. So on the way from request to
// program there is neither a fork nor the installation of a filter.
#include <sys/ioctl.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/limits.h"
#include "core/result.h"
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
/// Sets them for this process. 0 or an errno.
int set_rlimits(const RlimitList& limits);
/// From root inside to the program's ids, for good, which empties every capability set but the bounding one. 0 or an errno.
int take_program_ids() noexcept;

/// A terminal of the sandbox that this process is in, which belongs to this process's user.
struct Terminal {
  core::Fd master, ours;  // ours: the end that a program sees, not yet its controlling terminal
};
core::Result<Terminal> open_terminal(const winsize& size);

/// A command in the form that execve wants. The strings that it is made from must outlive it.
class CommandLine {
 public:
  CommandLine(const std::vector<std::string>& argv, const std::vector<std::string>& env);
  /// execve, with PATH of `env` where the command has no slash. The errno of its failure.
  [[nodiscard]] int execute() const;

 private:
  std::vector<char*> argv_, envp_;
  std::string_view path_ = "/usr/local/bin:/usr/bin:/bin";
};

}  // namespace bailiff::sandbox
