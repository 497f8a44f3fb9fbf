#pragma once
// pid 1 of the sandbox. Theory of operation: cloned by the spawner into new user, PID, mount, network, IPC and UTS namespaces, it enters
// new cgroup and time namespaces, mounts what is private (/proc, /work, /tmp, /dev/shm, /dev/pts), brings loopback up and starts the
// process that becomes the program (program.h), which drops everything and waits for "go". From then on init only reaps: when the program
// has ended it kills what outlives it and reports the raw wait status. It is root inside (host id base + 0), the program is not (host id
// base + 1), so the program cannot touch it. It is forked from a single-threaded process, so it may allocate.
#include <cstdint>
#include <ctime>
#include <string>

#include "core/fd.h"
#include "core/limits.h"
#include "sandbox/seccomp_filter.h"

namespace bailiff::sandbox {

inline constexpr unsigned kProgramId = 1000;  // uid and gid of the program inside

/// The step of the set-up at which an errno happened. For messages to an operator; order of execution.
enum class InitStep : std::uint32_t {
  none,
  map_wait,
  unshare,
  ids,
  death_signal,
  capabilities,
  proc,
  work,
  tmp,
  shm,
  devpts,
  network,
  hostname,
  fork,
  session,
  stdio,
  program_ids,
  no_new_privs,
  seccomp,
  receive,
  request,
  unpack,
  rlimits,
  working_directory,
};
const char* name(InitStep step);

/// → slot, one message each: `ended` from init on its control socket, all else on the program's socket.
struct InitReport {
  enum class Kind : std::uint32_t {
    prepared,     // waiting for "go"; at_ns: what the program's CLOCK_MONOTONIC is behind the host's until exec
    failed,       // step and error say where the set-up broke
    no_space,     // the files did not fit into the workspace
    input,        // with the caller's end of the program's standard input (sandbox::StepInput), and a terminal's other end
    executing,    // the next thing is exec; cpu_ns: what the program's process used since it was prepared
    exec_failed,  // error
    ended,        // status: of the program (wait(2)); cpu_ns: init's own since it was prepared; nothing else is alive
  } kind;
  InitStep step = InitStep::none;
  std::int32_t error = 0;
  std::int32_t status = 0;
  std::uint64_t cpu_ns = 0;
  std::uint64_t at_ns = 0;  // of the sender's CLOCK_MONOTONIC
  std::uint64_t involuntary_switches = 0;  // `ended`: of everything that init reaped
};

/// Nanoseconds of a clock, now.
std::uint64_t clock_ns(clockid_t clock);

/// Whether exec moves a process into the time namespace that is meant for its children (since Linux 6.3). Then the clocks start at "go",
/// else when the sandbox is prepared.
bool exec_enters_time_namespace();
/// Text for timens_offsets that lets both clocks start now, at `start_s` seconds.
std::string clock_offsets_from_now(std::uint64_t start_s);

/// The sandbox's ends of what connects it with the slot.
struct InitEnds {
  core::Fd control, program;          // SOCK_SEQPACKET: of init, of the program's process
  core::Fd stdout_pipe, stderr_pipe;  // write ends
};
inline constexpr std::size_t kInitEnds = 4;

struct InitConfig {
  core::Limits limits;  // for the sizes of its tmpfs
  InitEnds ends;
  core::Fd mapped;      // becomes readable once the id maps are written
  const SeccompFilter& filter;
  std::uint64_t clock_start_s;
};

/// Does not return.
[[noreturn]] void run_init(InitConfig config);

}  // namespace bailiff::sandbox
