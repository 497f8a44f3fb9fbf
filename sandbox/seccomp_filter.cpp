#include "sandbox/seccomp_filter.h"

#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "core/fd.h"
#include "sandbox/seccomp_compact.h"
#include "sandbox/tree.h"

namespace bailiff::sandbox {
namespace {

// What programs, compilers and language runtimes use. Names that this libseccomp does not know are left out of the list by resolve.
constexpr const char* kAllowed[] = {
    // files
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    // memory
    "brk",
    "madvise",
    "membarrier",
    "memfd_create",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "remap_file_pages",
    "map_shadow_stack",
    "mseal",
    "get_mempolicy",
    "set_mempolicy",
    "mbind",
    "set_mempolicy_home_node",
    // processes, threads, signals
    "alarm",
    "arch_prctl",
    "capget",
    "capset",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "set_robust_list",
    "get_thread_area",
    "set_thread_area",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "ioprio_get",
    "kill",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "getitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setuid",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "tgkill",
    "times",
    "tkill",
    "uname",
    "wait4",
    "waitid",
    "ptrace",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    // time and waiting
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "gettimeofday",
    "nanosleep",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    // sockets (families are filtered below) and System V IPC (in a namespace of its own)
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    // information
    "getrandom",
    "sysinfo",
};

// Known and refused: EPERM, as a process without privileges expects. (Everything else gets ENOSYS; so do clone, socket and personality with
// arguments that no rule below allows, and io_setup: all of the host share one quota for it.)
constexpr const char* kRefused[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "fanotify_mark",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "ioperm",
    "iopl",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioprio_set",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "migrate_pages",
    "modify_ldt",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "seccomp",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
};

// Done at once, successfully. All that a program can write to is memory. On files of the image these would flush the host's disks or take
// pages from the cache that all share.
constexpr const char* kWithoutEffect[] = {"fadvise64", "fdatasync", "fsync", "sync", "sync_file_range", "syncfs"};

constexpr std::uint64_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

int add(const Context& filter, std::uint32_t action, const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter.get(), action, number, 0);
}

int add_conditional_rules(const Context& filter) {
  int failed = 0;
  const auto rule = [&](std::uint32_t action, int number, scmp_arg_cmp condition) {
    const int status = seccomp_rule_add(filter.get(), action, number, 1, condition);
    if (status != 0) failed = status;
  };
  // clone without any namespace flag. clone3 hides its flags in memory, so it is not there and libc falls back to clone.
  rule(SCMP_ACT_ALLOW, SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, kNamespaceFlags, 0));
  for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)}) rule(SCMP_ACT_ALLOW, call, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
  // Streams over TCP and datagrams over UDP; for any other protocol the kernel would look for a module. AF_INET and AF_INET6 differ in one
  // bit, and so do the two types of netlink sockets, which getifaddrs() needs; they see only the sandbox's own loopback.
  static_assert((AF_INET | 8) == AF_INET6 && (SOCK_DGRAM | 1) == SOCK_RAW);
  constexpr std::uint32_t kTypeMask = 0xf;  // the rest are SOCK_NONBLOCK and SOCK_CLOEXEC
  const auto socket_rule = [&](scmp_arg_cmp family, scmp_arg_cmp type, int protocol) {
    const int status = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(socket), 3, family, type, SCMP_A2_32(SCMP_CMP_EQ, protocol));
    if (status != 0) failed = status;
  };
  for (const auto& [type, own_protocol] : {std::pair{SOCK_STREAM, IPPROTO_TCP}, {SOCK_DGRAM, IPPROTO_UDP}})
    for (const int protocol : {0, static_cast<int>(own_protocol)})
      socket_rule(SCMP_A0_64(SCMP_CMP_MASKED_EQ, ~8ULL, AF_INET), SCMP_A1_64(SCMP_CMP_MASKED_EQ, kTypeMask, type), protocol);
  socket_rule(SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK), SCMP_A1_64(SCMP_CMP_MASKED_EQ, kTypeMask & ~1U, SOCK_DGRAM), NETLINK_ROUTE);
  // Reading the personality and setting the plain one; any other (ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC) weakens the process.
  rule(SCMP_ACT_ALLOW, SCMP_SYS(personality), SCMP_A0_32(SCMP_CMP_EQ, 0xffffffffU));
  rule(SCMP_ACT_ALLOW, SCMP_SYS(personality), SCMP_A0_32(SCMP_CMP_EQ, PER_LINUX));
  return failed;
}

std::unexpected<core::Error> failed(const char* what, int status) {
  return core::error(core::ErrorKind::internal, std::string("seccomp: ") + what + ": " + std::strerror(-status));
}

core::Result<BpfProgram> export_program(const Context& filter) {
  core::Fd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return core::errno_error("memfd_create");
  if (const int status = seccomp_export_bpf(filter.get(), file.get()); status != 0) return failed("export", status);
  auto bytes = read_all(file.get());
  if (!bytes) return std::unexpected(bytes.error());
  BpfProgram program(bytes->size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes->data(), program.size() * sizeof(sock_filter));
  return program;
}

/// An empty list. What comes through a foreign entry point is not done and raises SIGSYS; a kill by the filter itself would
/// write a line into the host's log each time.
core::Result<Context> start_list(std::uint32_t action_otherwise) {
  Context filter(seccomp_init(action_otherwise), &seccomp_release);
  if (!filter) return core::error(core::ErrorKind::internal, "seccomp_init");
  if (const int status = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP); status != 0)
    return failed("architecture action", status);
  return filter;
}

core::Result<BpfProgram> compile_allow_list() {
  const auto started = start_list(SCMP_ACT_ERRNO(ENOSYS));
  if (!started) return std::unexpected(started.error());
  const Context& filter = *started;
  // A binary tree instead of a list: fewer instructions a call.
  if (const int status = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2); status != 0) return failed("optimise", status);
  for (const char* name : kAllowed)
    if (const int status = add(filter, SCMP_ACT_ALLOW, name); status != 0) return failed(name, status);
  for (const char* name : kWithoutEffect)
    if (const int status = add(filter, SCMP_ACT_ERRNO(0), name); status != 0) return failed(name, status);
  for (const char* name : kRefused)
    if (const int status = add(filter, SCMP_ACT_ERRNO(EPERM), name); status != 0) return failed(name, status);
  if (const int status = add_conditional_rules(filter); status != 0) return failed("conditional rules", status);
  return export_program(filter);
}

/// Arguments that are not for programs. A list of its own, for "all but these" cannot be said in the allow-list safely: the kernel looks at
/// the low 32 bits of most of them only, and so must the comparison.
core::Result<BpfProgram> compile_exceptions() {
  struct Exception {
    int call;
    std::vector<scmp_arg_cmp> arguments;  // a call with all of them …
    std::uint32_t error;  // … fails so; 0: does nothing, successfully
  };
  constexpr std::uint32_t kLow = 0xffffffffU, kTiocLinux = 0x541C, kSchedCore = 62;
  const std::vector<Exception> exceptions = {
      // Input pushed into a terminal.
      {SCMP_SYS(ioctl), {SCMP_A1_64(SCMP_CMP_MASKED_EQ, kLow, TIOCSTI)}, EPERM},
      {SCMP_SYS(ioctl), {SCMP_A1_64(SCMP_CMP_MASKED_EQ, kLow, kTiocLinux)}, EPERM},
      // Core scheduling: idle time forced upon whoever shares the core.
      {SCMP_SYS(prctl), {SCMP_A0_64(SCMP_CMP_MASKED_EQ, kLow, kSchedCore)}, EPERM},
      // As kWithoutEffect; asynchronous msync is used to ask whether an address is mapped.
      {SCMP_SYS(msync), {SCMP_A2_64(SCMP_CMP_MASKED_EQ, MS_SYNC, MS_SYNC)}, 0},
      // The host's reserve of huge pages, which is nobody's memory to the memory group.
      {SCMP_SYS(mmap), {SCMP_A3_64(SCMP_CMP_MASKED_EQ, MAP_HUGETLB, MAP_HUGETLB)}, ENOMEM},
      {SCMP_SYS(memfd_create), {SCMP_A1_64(SCMP_CMP_MASKED_EQ, MFD_HUGETLB, MFD_HUGETLB)}, ENOMEM},
      // Where core_pattern is a pipe, only a limit of exactly 1 keeps the host's handler from being run for a crash in here. Programs
      // switch dumps off as a matter of course, so they are told that it is done.
      {SCMP_SYS(setrlimit), {SCMP_A0_64(SCMP_CMP_MASKED_EQ, kLow, RLIMIT_CORE)}, 0},
      {SCMP_SYS(prlimit64), {SCMP_A1_64(SCMP_CMP_MASKED_EQ, kLow, RLIMIT_CORE), SCMP_A2_64(SCMP_CMP_NE, 0)}, 0},
  };
  const auto started = start_list(SCMP_ACT_ALLOW);
  if (!started) return std::unexpected(started.error());
  const Context& filter = *started;
  for (const auto& [call, arguments, error] : exceptions) {
    const int status =
        seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(error), call, static_cast<unsigned>(arguments.size()), arguments.data());
    if (status != 0) return failed("exceptions", status);
  }
  return export_program(filter);
}

}  // namespace

core::Result<std::vector<BpfProgram>> compile_seccomp_lists() {
  std::vector<BpfProgram> lists;
  for (auto* compile : {&compile_allow_list, &compile_exceptions}) {
    auto program = compile();
    if (!program) return std::unexpected(program.error());
    lists.push_back(std::move(*program));
  }
  return lists;
}

core::Result<SeccompFilter> compile_seccomp_filter() {
  const auto lists = compile_seccomp_lists();
  if (!lists) return std::unexpected(lists.error());
  auto program = compact(*lists, seccomp_arch_native());  // libseccomp's architectures are the kernel's
  if (!program) return std::unexpected(program.error());
  return SeccompFilter{std::move(*program)};
}

int install_seccomp_filter(const SeccompFilter& filter) noexcept {
  const sock_fprog code{static_cast<unsigned short>(filter.program.size()), const_cast<sock_filter*>(filter.program.data())};
  // Without SPEC_ALLOW older kernels would slow every program down by disabling speculative store bypass; isolation between sandboxes does
  // not rest on it, for they never share an address space.
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &code) == 0 ? 0 : errno;
}

}  // namespace bailiff::sandbox
