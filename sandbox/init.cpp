#include "sandbox/init.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "sandbox/descriptors.h"
#include "sandbox/kernel_file.h"
#include "sandbox/program.h"

namespace bailiff::sandbox {
namespace {

constexpr std::array kStepNames = {"none",
                                   "waiting for id maps",
                                   "unshare",
                                   "ids",
                                   "death signal",
                                   "capabilities",
                                   "mount /proc",
                                   "mount /work",
                                   "mount /tmp",
                                   "mount /dev/shm",
                                   "mount /dev/pts",
                                   "loopback",
                                   "hostname",
                                   "fork",
                                   "setsid",
                                   "stdio",
                                   "ids of the program",
                                   "no_new_privs",
                                   "seccomp",
                                   "receive",
                                   "request",
                                   "unpack",
                                   "rlimits",
                                   "working directory"};

// Processes only, and of these only those that the program could trace: no file that tells of the host or sets anything of it.
constexpr const char* kProcOptions = "subset=pid,hidepid=invisible";

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr unsigned long kTmpfsFlags = MS_NOSUID | MS_NODEV;

// The stack of the program's process until exec, where it shares init's memory. Untouched pages of it cost nothing.
constexpr std::size_t kProgramStackBytes = 512 * 1024;
alignas(16) std::array<char, kProgramStackBytes> program_stack;

std::string tmpfs_options(const core::Limits& limits, const std::string& owner) {
  return "size=" + std::to_string(limits.workspace_bytes) + ",nr_inodes=" + std::to_string(limits.workspace_inodes) + owner;
}

class Init {
 public:
  explicit Init(InitConfig config) : config_(std::move(config)) {}

  [[noreturn]] void run() {
    close_others();
    char byte = 0;
    if (read(config_.mapped.get(), &byte, 1) != 1) _exit(1);  // the spawner is gone
    config_.mapped.reset();
    isolate();
    mount_private();
    set_up_network_and_names();
    const pid_t program = start();
    const std::uint64_t idle_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    const int status = reap(program);
    rusage reaped{};
    (void)getrusage(RUSAGE_CHILDREN, &reaped);
    send(config_.ends.control, {InitReport::Kind::ended, InitStep::none, 0, status, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - idle_cpu_ns,
                                ended_ns_, static_cast<std::uint64_t>(reaped.ru_nivcsw)});
    // The slot reads the counters now and then ends us.
    (void)!read(config_.ends.control.get(), &byte, 1);
    _exit(0);
  }

 private:
  static void send(const core::Fd& socket, const InitReport& report) {
    if (write(socket.get(), &report, sizeof report) != sizeof report) _exit(1);  // the slot is gone
  }
  [[noreturn]] void fail(InitStep step, int error) {
    send(config_.ends.program, {InitReport::Kind::failed, step, error, 0, 0, 0});
    _exit(1);
  }
  void expect(bool done, InitStep step) {
    if (!done) fail(step, errno);
  }

  /// What the spawner had open is not ours; 0-2 are /dev/null already.
  void close_others() const {
    const auto& ends = config_.ends;
    const bool closed = close_all_but(
        {0, 1, 2, ends.control.get(), ends.program.get(), ends.stdout_pipe.get(), ends.stderr_pipe.get(), config_.mapped.get()});
    if (!closed) _exit(1);
  }

  void isolate() {
    // Here, not in clone3: only now are we in the groups that shall be the root of the cgroup namespace, and the clock offsets of a time
    // namespace can be set only until somebody lives in it. The program will be the first.
    expect(unshare(CLONE_NEWCGROUP | CLONE_NEWTIME) == 0, InitStep::unshare);
    if (!exec_enters_time_namespace()) {
      clock_offset_ns_ = (clock_ns(CLOCK_MONOTONIC) / kSecondNs - config_.clock_start_s) * kSecondNs;  // modulo 2^64, as its use is
      expect(write_kernel_file("/proc/self/timens_offsets", clock_offsets_from_now(config_.clock_start_s)).has_value(), InitStep::unshare);
    }
    expect(setgroups(0, nullptr) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, InitStep::ids);
    die_with_slot();
    // Not readable, traceable or dumpable by anybody inside.
    expect(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, InitStep::capabilities);
    int capability = 0;
    while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) ++capability;
    expect(errno == EINVAL && capability > CAP_AUDIT_CONTROL, InitStep::capabilities);  // all that this kernel knows
  }

  /// From here on the slot's death ends the sandbox. One that came earlier shows as a hang-up of its socket.
  void die_with_slot() {
    expect(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, InitStep::death_signal);
    pollfd entry{config_.ends.control.get(), 0, 0};
    if (poll(&entry, 1, 0) != 0) _exit(1);
  }

  void mount_private() {
    constexpr unsigned long kProcFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    expect(mount("proc", "/proc", "proc", kProcFlags, kProcOptions) == 0, InitStep::proc);
    const std::string id = std::to_string(kProgramId);
    const std::string work = tmpfs_options(config_.limits, ",mode=0755,uid=" + id + ",gid=" + id);
    expect(mount("tmpfs", "/work", "tmpfs", kTmpfsFlags, work.c_str()) == 0, InitStep::work);
    const std::string options = tmpfs_options(config_.limits, ",mode=1777");
    expect(mount("tmpfs", "/tmp", "tmpfs", kTmpfsFlags, options.c_str()) == 0, InitStep::tmp);
    expect(mount("tmpfs", "/dev/shm", "tmpfs", kTmpfsFlags | MS_NOEXEC, options.c_str()) == 0, InitStep::shm);
    expect(mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=64") == 0,
           InitStep::devpts);
  }

  void set_up_network_and_names() {
    const core::Fd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    expect(socket_fd.valid(), InitStep::network);
    ifreq loopback{};
    std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
    loopback.ifr_flags = IFF_UP;
    expect(ioctl(socket_fd.get(), SIOCSIFFLAGS, &loopback) == 0, InitStep::network);
    constexpr std::string_view kName = "bailiff";
    expect(sethostname(kName.data(), kName.size()) == 0 && setdomainname(kName.data(), kName.size()) == 0, InitStep::hostname);
  }

  pid_t start() {
    // Sharing memory until exec saves the copy of it. Where exec does not enter the time namespace, fork does, but not with shared memory.
    // Sharing is no race: the child touches nothing of ours but this, and we nothing of its.
    static ParkedProgram parked{config_.ends.program.get(), config_.ends.stdout_pipe.get(), config_.ends.stderr_pipe.get(),
                                clock_offset_ns_, &config_.filter};
    const int flags = SIGCHLD | (exec_enters_time_namespace() ? CLONE_VM : 0);
    const pid_t program = clone([](void* argument) -> int { become_program(*static_cast<ParkedProgram*>(argument)); },
                                program_stack.data() + program_stack.size(), flags, &parked);
    expect(program >= 0, InitStep::fork);
    config_.ends.program.reset();
    config_.ends.stdout_pipe.reset();
    config_.ends.stderr_pipe.reset();
    return program;
  }

  /// Waits for the program, reaping every orphan on the way; then ends and reaps all that is left.
  int reap(pid_t program) {
    int status = 0, program_status = 0;
    for (pid_t ended = 0; ended != program;) {
      ended = waitpid(-1, &status, __WALL);
      if (ended == program) program_status = status;
    }
    ended_ns_ = clock_ns(CLOCK_MONOTONIC);
    // Whoever outlives its parent is a child of ours, so without children nobody is left.
    if (waitpid(-1, &status, __WALL | WNOHANG) < 0) return program_status;
    (void)kill(-1, SIGKILL);
    while (waitpid(-1, &status, __WALL) > 0 || errno == EINTR) {}
    return program_status;
  }

  InitConfig config_;
  std::uint64_t ended_ns_ = 0, clock_offset_ns_ = 0;
};

}  // namespace

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecondNs + static_cast<std::uint64_t>(now.tv_nsec);
}

bool exec_enters_time_namespace() {
  static const bool enters = [] {
    utsname kernel{};
    int major = 0, minor = 0;
    return uname(&kernel) == 0 && std::sscanf(kernel.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 3));
  }();
  return enters;
}

std::string clock_offsets_from_now(std::uint64_t start_s) {
  const auto offset = [&](clockid_t clock) { return std::to_string(static_cast<std::int64_t>(start_s - clock_ns(clock) / kSecondNs)); };
  return "monotonic " + offset(CLOCK_MONOTONIC) + " 0\nboottime " + offset(CLOCK_BOOTTIME) + " 0\n";
}

const char* name(InitStep step) { return kStepNames.at(static_cast<std::size_t>(step)); }

void run_init(InitConfig config) { Init(std::move(config)).run(); }

}  // namespace bailiff::sandbox
