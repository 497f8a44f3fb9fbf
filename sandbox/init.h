#pragma once
// pid 1 of the sandbox. Theory of operation: cloned by the spawner into new user, PID, mount, network, IPC and UTS namespaces, it enters
// new cgroup and time namespaces, mounts what is private (/proc, /tmp, /dev/shm, /dev/pts), brings loopback up and waits. At "go" it
// unpacks the files as the program's user, starts the program, reaps whatever ends, kills what outlives the program, and reports the raw
// wait status. It is root inside (host id base + 0), the program is not (host id base + 1), so the program cannot touch it. It is forked
// from a single-threaded process, so it may allocate.
#include <cstdint>
#include <ctime>

#include "core/fd.h"
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
  masks,
  tmp,
  shm,
  devpts,
  network,
  hostname,
  receive,
  request,
  resize,
  unpack,
  fork,
  session,
  stdio,
  rlimits,
  working_directory,
  no_new_privs,
  seccomp,
};
const char* name(InitStep step);

/// init → slot, one message each on the control socket.
struct InitReport {
  enum class Kind : std::uint32_t {
    prepared,  // all is mounted; waiting for "go"
    failed,  // step and error say where the set-up broke
    no_space,  // the files did not fit into the workspace
    executing,  // the next thing is exec; cpu_ns: what our child used so far
    exec_failed,  // error
    ended,  // status: of the program (wait(2)); cpu_ns: init's own since "go"; nothing else is alive
  } kind;
  InitStep step = InitStep::none;
  std::int32_t error = 0;
  std::int32_t status = 0;
  std::uint64_t cpu_ns = 0;
  std::uint64_t at_ns = 0;  // of the sender's CLOCK_MONOTONIC (for `executing`: in the program's time namespace)
};

/// Nanoseconds of a clock, now.
std::uint64_t clock_ns(clockid_t clock);

/// slot → init. kGo comes with the descriptors {request, stdout, stderr, [stdin], trees …}.
struct GoMessage {
  char has_stdin = 0;
};

/// Does not return. `control` is init's end; `mapped` becomes readable once the id maps are written.
[[noreturn]] void run_init(core::Fd control, core::Fd mapped, const SeccompFilter& filter);

}  // namespace bailiff::sandbox
