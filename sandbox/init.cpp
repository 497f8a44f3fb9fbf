#include "sandbox/init.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "sandbox/message.h"
#include "sandbox/program.h"
#include "sandbox/socket.h"
#include "sandbox/unpack.h"

namespace bailiff::sandbox {
namespace {

constexpr std::array kStepNames = {"none",           "waiting for id maps",
                                   "unshare",        "ids",
                                   "death signal",   "capabilities",
                                   "mount /proc",    "mask /proc",
                                   "mount /tmp",     "mount /dev/shm",
                                   "mount /dev/pts", "loopback",
                                   "hostname",       "receive",
                                   "request",        "resize tmpfs",
                                   "unpack",         "fork",
                                   "setsid",         "stdio",
                                   "rlimits",        "working directory",
                                   "no_new_privs",   "seccomp"};

// Files of /proc that tell of the host. Shown empty; what a kernel does not have is not there to be shown.
constexpr std::array kMaskedFiles = {"/proc/cmdline",
                                     "/proc/kallsyms",
                                     "/proc/kcore",
                                     "/proc/keys",
                                     "/proc/key-users",
                                     "/proc/kmsg",
                                     "/proc/modules",
                                     "/proc/timer_list",
                                     "/proc/sysrq-trigger",
                                     "/proc/partitions",
                                     "/proc/sys/kernel/core_pattern"};
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

constexpr unsigned long kTmpfsFlags = MS_NOSUID | MS_NODEV;

std::string tmpfs_options(const core::Limits& limits) {
  return "size=" + std::to_string(limits.workspace_bytes) + ",nr_inodes=" + std::to_string(limits.workspace_inodes) + ",mode=1777";
}

class Init {
 public:
  Init(core::Fd control, core::Fd mapped, const SeccompFilter& filter)
      : control_(std::move(control)), mapped_(std::move(mapped)), filter_(filter) {}

  [[noreturn]] void run() {
    close_others();
    char byte = 0;
    if (read(mapped_.get(), &byte, 1) != 1) _exit(1);  // the spawner is gone
    mapped_.reset();
    isolate();
    mount_private();
    set_up_network_and_names();
    send({InitReport::Kind::prepared, InitStep::none, 0, 0, 0, 0});
    const std::uint64_t idle_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    receive_go();
    unpack();
    const pid_t program = start();
    const int status = reap(program);
    send({InitReport::Kind::ended, InitStep::none, 0, status, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - idle_cpu_ns, ended_ns_});
    // The slot reads the counters now and then ends us.
    (void)!read(control_.get(), &byte, 1);
    _exit(0);
  }

 private:
  void send(const InitReport& report) {
    if (write(control_.get(), &report, sizeof report) != sizeof report) _exit(1);  // the slot is gone
  }
  [[noreturn]] void fail(InitStep step, int error) {
    send({InitReport::Kind::failed, step, error, 0, 0, 0});
    _exit(1);
  }
  void expect(bool done, InitStep step) {
    if (!done) fail(step, errno);
  }

  /// What the spawner had open is not ours; 0-2 are /dev/null already.
  void close_others() {
    const unsigned low = static_cast<unsigned>(std::min(control_.get(), mapped_.get()));
    const unsigned high = static_cast<unsigned>(std::max(control_.get(), mapped_.get()));
    (void)close_range(3, low - 1, 0);
    if (high > low + 1) (void)close_range(low + 1, high - 1, 0);
    (void)close_range(high + 1, ~0U, 0);
  }

  void isolate() {
    // Here, not in clone3: only now are we in the groups that shall be the root of the cgroup namespace, and the clock offsets of a time
    // namespace can be set only until somebody lives in it. The program will be the first.
    expect(unshare(CLONE_NEWCGROUP | CLONE_NEWTIME) == 0, InitStep::unshare);
    expect(setgroups(0, nullptr) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, InitStep::ids);
    die_with_slot();
    // Not readable, traceable or dumpable by anybody inside.
    expect(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, InitStep::capabilities);
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
      expect(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, InitStep::capabilities);
  }

  /// From here on the slot's death ends the sandbox. One that came earlier shows as a hang-up of its socket.
  void die_with_slot() {
    expect(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, InitStep::death_signal);
    pollfd entry{control_.get(), 0, 0};
    if (poll(&entry, 1, 0) != 0) _exit(1);
  }

  void mount_private() {
    constexpr unsigned long kProcFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    expect(mount("proc", "/proc", "proc", kProcFlags, nullptr) == 0, InitStep::proc);
    for (const char* file : kMaskedFiles) bind_over("/dev/.empty", file);
    bind_over("/dev/.boot_id", kBootId);
    const std::string options = tmpfs_options(limits_);
    expect(mount("tmpfs", "/tmp", "tmpfs", kTmpfsFlags, options.c_str()) == 0, InitStep::tmp);
    expect(mount("tmpfs", "/dev/shm", "tmpfs", kTmpfsFlags | MS_NOEXEC, options.c_str()) == 0, InitStep::shm);
    expect(mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=64") == 0,
           InitStep::devpts);
  }

  void bind_over(const char* source, const char* target) {
    if (mount(source, target, nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) fail(InitStep::masks, errno);
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

  void receive_go() {
    auto message = receive_message(control_.get());
    if (!message) fail(InitStep::receive, message.error().sys_errno);
    if (message->bytes.empty()) _exit(0);  // never used
    const bool has_stdin = message->bytes.front() != 0;
    const std::size_t fixed = has_stdin ? 4 : 3;
    if (message->fds.size() < fixed) fail(InitStep::receive, EPROTO);
    auto bytes = read_all(message->fds[0].get());
    auto request = bytes ? decode_request(*bytes) : core::Result<StepRequest>(std::unexpected(bytes.error()));
    if (!request) fail(InitStep::request, EPROTO);
    request_ = std::move(*request);
    request_.stdout_fd = std::move(message->fds[1]);
    request_.stderr_fd = std::move(message->fds[2]);
    request_.stdin_fd = has_stdin ? open_stdin(message->fds[3].get()) : core::Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    expect(request_.stdin_fd.valid(), InitStep::receive);
    for (std::size_t i = fixed; i < message->fds.size(); ++i) request_.trees.push_back(std::move(message->fds[i]));
    const auto options = tmpfs_options(request_.limits);
    if (options != tmpfs_options(limits_))
      for (const auto& [path, flags] : {std::pair{"/tmp", kTmpfsFlags}, {"/dev/shm", kTmpfsFlags | MS_NOEXEC}})
        expect(mount(nullptr, path, nullptr, MS_REMOUNT | flags, options.c_str()) == 0, InitStep::resize);
  }

  /// A description of its own, read-only, at offset 0: several programs may read the same bytes.
  static core::Fd open_stdin(int memfd) { return core::Fd(open(("/proc/self/fd/" + std::to_string(memfd)).c_str(), O_RDONLY | O_CLOEXEC)); }

  void unpack() {
    if (request_.trees.empty()) return;
    const core::Fd root(open("/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    expect(root.valid(), InitStep::unpack);
    setfsgid(kProgramId);
    setfsuid(kProgramId);
    for (const auto& fd : request_.trees) {
      const auto tree = TreeReader::open(fd.get());
      if (!tree) fail(InitStep::unpack, EPROTO);
      const int fault = unpack_tree(root.get(), *tree);
      if (fault == ENOSPC || fault == EFBIG) {
        send({InitReport::Kind::no_space, InitStep::unpack, fault, 0, 0, 0});
        _exit(0);
      }
      if (fault != 0) fail(InitStep::unpack, fault);
    }
    setfsuid(0);
    setfsgid(0);
    request_.trees.clear();
    die_with_slot();  // a change of the file-system ids has cleared the death signal
  }

  pid_t start() {
    const pid_t program = fork();
    expect(program >= 0, InitStep::fork);
    if (program == 0)
      become_program(request_, {request_.stdin_fd.get(), request_.stdout_fd.get(), request_.stderr_fd.get(), control_.get()}, filter_);
    request_.stdin_fd.reset();
    request_.stdout_fd.reset();
    request_.stderr_fd.reset();
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
    (void)kill(-1, SIGKILL);
    while (waitpid(-1, &status, __WALL) > 0 || errno == EINTR) {}
    return program_status;
  }

  core::Fd control_, mapped_;
  const SeccompFilter& filter_;
  core::Limits limits_ = core::default_limits();
  StepRequest request_;
  std::uint64_t ended_ns_ = 0;
};

}  // namespace

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

const char* name(InitStep step) { return kStepNames.at(static_cast<std::size_t>(step)); }

void run_init(core::Fd control, core::Fd mapped, const SeccompFilter& filter) { Init(std::move(control), std::move(mapped), filter).run(); }

}  // namespace bailiff::sandbox
