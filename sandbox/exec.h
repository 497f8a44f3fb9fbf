#pragma once
// A command beside a running program, inside all that contains it. Theory of operation, three processes:
//
//  attendant  child of the slot (companions.h), stays outside, in none of the sandbox's groups: the command's parent, who waits for it and
//             tells the caller. It ends the command when the caller hangs up or the slot says so.
//  entrant    its child for a few milliseconds: joins the groups and every namespace, becomes the program's user, drops everything, makes
//             the pipes or the terminal, clones the command and is gone. It is not in the PID namespace itself (setns is for children), so
//             nothing in the sandbox can see it.
//  command    born inside with nothing left to drop: no capability, no_new_privs, seccomp, the program's ids, not dumpable until it
//             executes. It waits until the attendant knows it, so there is no moment at which nobody could end it.
//
// So no process with a privilege, and none that the program may trace, read or write, is ever visible to the program, and what is open in
// the command at exec is its 0-2. As runc's CVE-2019-5736 and CVE-2024-21626 teach: the way in is what is attacked.
#include <sys/types.h>

#include <string>
#include <vector>

#include "core/fd.h"
#include "core/limits.h"
#include "sandbox/client.h"
#include "sandbox/seccomp_filter.h"

namespace bailiff::sandbox {

/// Where a program runs.
struct ExecSite {
  pid_t init;
  int init_pidfd;
  std::vector<std::string> groups;  // directories (Station::groups)
  core::Limits limits;
  const SeccompFilter& filter;
};

/// In a companion: serves the request and tells `answer` how it went (exec_message.h). Does not return.
[[noreturn]] void attend_exec(const ExecSite& site, const ExecRequest& request, core::Fd answer, core::Fd leash);

}  // namespace bailiff::sandbox
