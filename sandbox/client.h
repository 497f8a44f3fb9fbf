#pragma once
// The door of the sandbox: start the launcher, then run steps in its slots. Used by bailiffd, `bailiff run`, bench and tests alike.
//
// Theory of operation. The caller (root) starts `bailiff-launcher`, the only privileged process, over a socket pair, and may then
// drop every privilege. The launcher makes the cgroups and one slot process a worker; each slot has its own socket to the caller.
// A slot runs one step at a time: the caller sends a StepRequest, the slot answers with exactly one StepReport. A slot that
// dies shows as end-of-file on its socket (Error, never a verdict); the launcher replaces it and announces the new one.
// When the caller's sockets close, everything below dies with them.
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/limits.h"
#include "core/outcome.h"
#include "core/result.h"
#include "sandbox/cgroup_net.h"
#include "sandbox/tree.h"

namespace bailiff::sandbox {

/// What a program sees as its root. `host`: a read-only view of this machine's /usr with an /etc made for it.
/// `directory`: an unpacked root filesystem. `erofs`: a file with an EROFS file system. In all cases: read-only, with /work, /tmp, /dev,
/// /proc of the step's own.
struct Image {
  std::string name;
  enum class Kind : std::uint32_t { host, directory, erofs } kind = Kind::host;
  std::string path;  // all but host: absolute
  std::string unpacked{};  // erofs: a directory with the same content, for a kernel that lacks EROFS; empty: none
};

inline constexpr std::uint64_t kMaxClockStartS = 1'000'000'000;

/// Who makes the cgroup that ours are below (cgroup_driver.h).
enum class CgroupDriver : std::uint32_t { automatic, cgroupfs, systemd };

struct LauncherConfig {
  std::string launcher_path;             // the bailiff-launcher binary; empty: beside the running program
  unsigned slots = 1;
  std::vector<Image> images;  // the launcher runs nothing in any other, but …
  std::string images_directory;  // … what add_image() names of this directory; empty: nothing
  core::Limits ceiling = core::ceiling_limits();  // the launcher refuses requests above it
  std::uint32_t uid_base = 0x30000000;   // slot k uses host ids [uid_base + k * 65536, … + 65536)
  NetMarks net_marks;                    // on the packets of every step; none: nothing is set
  std::uint64_t clock_start_s = 0;       // what a program's monotonic and boot clocks start at
  std::string cgroup_parent = "bailiff"; // our subtree's name under the launcher's own cgroup
  CgroupDriver cgroup_driver = CgroupDriver::automatic;
  std::vector<std::string> slot_cpus;    // optional: cpuset list of slot k ("0", "2-3"); empty: not pinned
};

/// Where a program's standard input comes from: what `stdin_fd` holds; or a pipe, or a terminal of the sandbox's own, whose other end the
/// caller gets while the program runs (Slot::take_notice). With a terminal all output is stdout's.
enum class StepInput : std::uint8_t { given, pipe, terminal };

/// One program to run.
struct StepRequest {
  std::string image;
  std::vector<std::string> argv;   // argv[0] is looked up in PATH of env where it has no slash
  std::vector<std::string> env;    // "K=V", the whole environment
  std::string cwd;                 // relative to /work; empty: /work itself
  core::Limits limits = core::default_limits();
  bool keep_previous_workspace = false;  // else /work is fresh and empty (before `trees` are unpacked)
  bool keep_workspace = false;           // the next request on this slot may ask for it
  std::vector<std::string> collect;      // globs ("**" crosses "/") of workspace paths to take out after the end; empty: none
  std::uint64_t collect_bytes = 0;       // most bytes to collect
  // Owned here; passed to the slot by descriptor.
  core::Fd stdin_fd;                 // sealed memfd (tree.h); empty: the program reads end-of-file
  core::Fd stdout_fd, stderr_fd;     // output memfds; required
  std::vector<core::Fd> trees;       // sealed trees unpacked into /work in order, at most kMaxTrees
  StepInput input = StepInput::given;
};
inline constexpr std::size_t kMaxTrees = 4;

struct StepReport {
  core::Outcome outcome;
  core::Fd collected;              // sealed tree of what `collect` matched; empty where nothing was asked
  bool collect_truncated = false;  // more matched than collect_bytes allowed, or could not be read
};

/// A running sandbox as the kernel shows it to the slot, which is root outside.
struct Inspection {
  struct Namespace {
    std::string type;  // "user", "pid", "mnt" …, from the kernel (NS_GET_NSTYPE)
    std::uint64_t inode = 0;  // names it, as in /proc/PID/ns
    std::uint32_t owner_uid = 0;  // host uid that made the user namespace which owns it (for a user namespace: that made it)
    std::uint64_t owner_inode = 0;  // that user namespace (for a user namespace: its parent); 0 where it is beyond our view
    std::uint64_t parent_inode = 0;  // user and pid only; 0 for the others and for what is beyond our view
  };
  struct Group {
    std::string hierarchy;  // controllers as in /proc/PID/cgroup: "cpu,cpuacct"; empty on v2
    std::string path;  // in that hierarchy
  };
  struct Process {
    pid_t host_pid = -1, pid = -1;  // outside, inside
    std::string name;  // its own choice: any bytes
  };
  std::vector<Namespace> namespaces;
  std::vector<Group> groups;
  std::uint64_t memory_bytes = 0, processes_now = 0;  // charged to the groups; processes and threads, ours included
  std::vector<Process> processes;  // init is pid 1 inside
  bool truncated = false;  // there were more than kMaxInspectedProcesses
  std::vector<core::UsageSample> samples;  // of the step until now
};
inline constexpr std::size_t kMaxInspectedProcesses = 2048;

/// A command to run beside a running program, with what the program has: its namespaces, groups, ids, rlimits and filter, /work as its
/// working directory, and neither more nor less privileges.
struct ExecRequest {
  std::vector<std::string> argv, env;  // as in StepRequest
  bool terminal = false;  // a terminal of the sandbox's own instead of three pipes
  std::uint16_t rows = 24, columns = 80;
};
inline constexpr std::size_t kMaxExecs = 8;  // beside one program at one time

/// The caller's ends of such a command. It ends when `control` is closed, and with the program.
struct ExecSession {
  core::Fd control;  // readable when the command has ended: take_exec_end()
  core::Fd input, output, errors;  // of three pipes; with a terminal: its master in `input`, and the others empty
};
struct ExecEnd {
  std::optional<int> exit_code, signal;  // one of the two
};

/// What a slot tells of a running step before its report.
struct Notice {
  core::Fd input;  // the caller's end of its standard input, told once, when it is about to execute; empty: output was captured
};

/// The caller's end of one slot. One thread at a time.
class Slot {
 public:
  Slot(unsigned index, core::Fd socket) : index_(index), socket_(std::move(socket)) {}
  [[nodiscard]] unsigned index() const { return index_; }
  /// Readable when a report (or end-of-file) waits. For an event loop.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Sends the request. ErrorKind::invalid: the request cannot be encoded; else the slot is gone.
  core::Status start(const StepRequest& request);
  /// Ends the running step with verdict `cancelled`; its report still comes. Harmless when nothing runs.
  core::Status cancel();
  /// Lets go of a workspace that the last step kept; the next cannot have it.
  core::Status drop_workspace();
  /// Stops every process of the running step until resume(); its time stands still. Harmless when nothing runs or it is paused.
  /// On a host without a freezer (`cgroup.freezer` of probe_host()) the step fails.
  core::Status pause();
  /// Harmless when nothing is paused.
  core::Status resume();
  /// Asks for one notice of output of the running step: it comes when output was captured since the last notice, at once where it was
  /// before. Ask again only after it has come. Harmless when nothing runs: then none comes.
  core::Status tell_output();
  /// When fd() is readable: what waits, which is taken, unless it is the report.
  std::optional<Notice> take_notice();
  /// Waits for and takes the report. ErrorKind::internal with the slot alive: our set-up failed, the slot goes on;
  /// ErrorKind::unavailable: the slot is gone; ErrorKind::invalid: the slot refused the request (unknown image, above the ceiling …).
  core::Result<StepReport> finish();
  /// start() and finish().
  core::Result<StepReport> run(const StepRequest& request);

  /// While a step runs. Each gives a descriptor that becomes readable when its answer is there: take_inspection(), take_exec().
  core::Result<core::Fd> ask_inspection();
  core::Result<core::Fd> ask_exec(const ExecRequest& request);

 private:
  core::Result<core::Fd> ask(std::string_view message);
  unsigned index_;
  core::Fd socket_;
  bool keeps_workspace_ = false;
};

/// Each blocks until the answer is there. ErrorKind::conflict: no step runs in the slot; invalid: refused, or cannot be executed, with a
/// text that may be shown to who asked; unavailable: there are too many already, or the program has used up what it may have.
core::Result<Inspection> take_inspection(const core::Fd& answer);
core::Result<ExecSession> take_exec(core::Fd answer);
/// ErrorKind::unavailable: the slot is gone.
core::Result<ExecEnd> take_exec_end(const core::Fd& control);

/// Owns the launcher process. Its destructor closes the socket, so that the launcher ends all it runs, and reaps it.
class Launcher {
 public:
  /// Starts the launcher and waits until it has its cgroups. Needs root (or says exactly what is missing).
  /// Call before any thread exists. ErrorKind::unavailable: the cgroup driver does not fit the host, or the launcher refused.
  static core::Result<Launcher> start(const LauncherConfig& config);
  Launcher(Launcher&&) noexcept = default;
  Launcher& operator=(Launcher&&) noexcept;
  ~Launcher();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// The cgroup driver in use, never automatic, and why it is that one.
  [[nodiscard]] CgroupDriver cgroup_driver() const { return cgroup_driver_; }
  [[nodiscard]] const std::string& cgroup_driver_reason() const { return cgroup_driver_reason_; }
  /// Readable when a new slot is announced, and at end-of-file when the launcher died.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// The next slot that became ready (the first ones and replacements of dead ones alike; a replacement has the dead one's
  /// index). Blocks. Fails when the launcher is gone.
  core::Result<Slot> next_slot();

  /// Offers the image "sha256-<hex>.erofs" of the images directory, under the name "sha256-<hex>", in all slots, also those that run.
  /// Blocks for as long as it takes to mount it, a minute at most. One thread at a time, which need not be that of next_slot().
  core::Status add_image(const std::string& name);
  /// Takes it away again. What runs in it goes on.
  core::Status remove_image(const std::string& name);

 private:
  Launcher(pid_t pid, core::Fd socket, core::Fd images) : pid_(pid), socket_(std::move(socket)), images_(std::move(images)) {}
  core::Status tell_image(char what, const std::string& name);
  pid_t pid_ = -1;
  core::Fd socket_, images_;
  CgroupDriver cgroup_driver_ = CgroupDriver::cgroupfs;
  std::string cgroup_driver_reason_;
};

/// One line of `bailiff doctor`: a host capability that Bailiff uses.
struct Capability {
  std::string name;  // "cgroup.memory", "namespaces.time", …
  bool present = false;
  std::string detail;   // what was found
  std::string fix;      // what to do where it is missing; empty when present
  bool required = true; // false: without it steps run all the same
};
/// Looks at the host; changes nothing. `cgroup.version` has detail "1", "2" or "hybrid". `root`: "" for the real host; for tests a
/// directory whose files are looked at instead.
std::vector<Capability> probe_host(const std::string& root = "");

}  // namespace bailiff::sandbox
