#include "tests/sandbox/calls.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>

#include <csignal>
#include <sstream>

#include <gtest/gtest.h>

namespace bailiff::sandbox::testing {
namespace {

std::string n(unsigned long value) { return std::to_string(value); }

constexpr unsigned long kAtCwd = static_cast<unsigned long>(AT_FDCWD), kHigh = 1UL << 32;
constexpr long kMemfdSecret = 447, kProcessMadvise = 440, kProcessMrelease = 448, kMountSetattr = 442, kQuotactlFd = 443;

std::vector<Call> device_calls() {
  return {{"character device", EPERM, SYS_mknod, {"s:/tmp/a", n(S_IFCHR | 0666), n(0x101)}},
          {"block device", EPERM, SYS_mknod, {"s:/tmp/a", n(S_IFBLK | 0666), n(0x800)}},
          {"device in the workspace", EPERM, SYS_mknodat, {n(kAtCwd), "s:node", n(S_IFCHR | 0666), n(0x103)}},
          {"terminal", ENXIO, SYS_open, {"s:/dev/tty", n(O_RDWR)}},
          {"TIOCSTI", EPERM, SYS_ioctl, {"0", n(TIOCSTI), "s:x"}},
          {"TIOCSTI with high bits", EPERM, SYS_ioctl, {"0", n(kHigh | TIOCSTI), "s:x"}},
          {"TIOCLINUX", EPERM, SYS_ioctl, {"0", n(TIOCLINUX), "s:x"}},
          {"TIOCLINUX with high bits", EPERM, SYS_ioctl, {"0", n(kHigh * 7 | TIOCLINUX), "s:x"}},
          {"write to itself", ETXTBSY, SYS_open, {"s:/proc/self/exe", n(O_WRONLY)}},
          {"memory of init", ENOENT, SYS_open, {"s:/proc/1/mem", n(O_RDWR)}},
          {"own out-of-memory score", EROFS, SYS_open, {"s:/proc/self/oom_score_adj", n(O_WRONLY)}},
          {"own scheduling group", EROFS, SYS_open, {"s:/proc/self/autogroup", n(O_WRONLY)}},
          {"own id map", EROFS, SYS_open, {"s:/proc/self/uid_map", n(O_WRONLY)}},
          {"clear references", EROFS, SYS_open, {"s:/proc/self/clear_refs", n(O_WRONLY)}},
          {"hard link to the image", EXDEV, SYS_link, {"s:/usr/bin/env", "s:/work/env"}}};
}

std::vector<Call> image_calls() {
  std::vector<Call> calls;
  for (const char* path : {"/etc/passwd", "/usr/bin/env", "/usr", "/"}) {
    const std::string text = std::string("s:") + path;
    calls.push_back({std::string("chmod ") + path, EROFS, SYS_chmod, {text, "0777"}});
    calls.push_back({std::string("chown ") + path, EROFS, SYS_chown, {text, "1000", "1000"}});
    calls.push_back({std::string("utimes ") + path, EROFS, SYS_utimensat, {n(kAtCwd), text, "0", "0"}});
    calls.push_back({std::string("xattr ") + path, EROFS, SYS_setxattr, {text, "s:user.a", "s:b", "1", "0"}});
  }
  for (const char* path : {"/etc/passwd", "/usr/bin/env"}) {
    const std::string text = std::string("s:") + path;
    calls.push_back({std::string("write ") + path, EACCES, SYS_open, {text, n(O_WRONLY)}});
    calls.push_back({std::string("truncate ") + path, EROFS, SYS_open, {text, n(O_RDWR | O_TRUNC)}});
    calls.push_back({std::string("unlink ") + path, EROFS, SYS_unlink, {text}});
    calls.push_back({std::string("rename ") + path, EXDEV, SYS_rename, {text, "s:/work/x"}});
  }
  for (const char* path : {"/x", "/usr/x", "/etc/x", "/dev/x", "/work/../x"}) {
    const std::string text = std::string("s:") + path;
    calls.push_back({std::string("create ") + path, EROFS, SYS_open, {text, n(O_CREAT | O_WRONLY), "0600"}});
    calls.push_back({std::string("mkdir ") + path, EROFS, SYS_mkdir, {text, "0700"}});
    calls.push_back({std::string("symlink ") + path, EROFS, SYS_symlink, {"s:/", text}});
  }
  return calls;
}

std::vector<Call> host_calls() {
  std::vector<Call> calls;
  std::istringstream paths(
      "/proc/sys /proc/sys/kernel/core_pattern /proc/sys/kernel/random/boot_id /proc/sysrq-trigger /proc/kcore /proc/kmsg "
      "/proc/kallsyms /proc/modules /proc/keys /proc/key-users /proc/cmdline /proc/meminfo /proc/cpuinfo /proc/stat "
      "/proc/loadavg /proc/uptime /proc/version /proc/diskstats /proc/interrupts /proc/devices /proc/partitions "
      "/proc/timer_list /proc/sched_debug /proc/bus /proc/acpi /proc/scsi /proc/fs /proc/irq /proc/config.gz /proc/vmstat "
      "/proc/slabinfo /proc/swaps /proc/1 /proc/1/root /proc/1/environ /proc/1/fd /sys /sys/fs/cgroup "
      "/sys/kernel/uevent_helper /sys/firmware /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/kvm /dev/fuse /dev/net/tun "
      "/dev/console /dev/mqueue /run /var /root /home /boot /etc/shadow /etc/ssh /etc/machine-id /release_agent ");
  for (std::string path; paths >> path;) calls.push_back({"open " + path, ENOENT, SYS_open, {"s:" + path, n(O_RDONLY)}});
  return calls;
}

}  // namespace

std::vector<Call> namespace_calls() {
  std::vector<Call> calls;
  for (const unsigned long flag : {CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP,
                                   CLONE_NEWTIME, CLONE_FS, CLONE_FILES, CLONE_SYSVSEM}) {
    calls.push_back({"unshare " + n(flag), EPERM, SYS_unshare, {n(flag)}});
    calls.push_back({"unshare with high bits " + n(flag), EPERM, SYS_unshare, {n(flag | kHigh)}});
    calls.push_back({"setns " + n(flag), EPERM, SYS_setns, {"0", n(flag)}});
    if ((flag & (CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_NEWTIME)) != 0) continue;  // nothing for clone to refuse
    calls.push_back({"clone " + n(flag), ENOSYS, SYS_clone, {n(flag | SIGCHLD), "0", "0", "0", "0"}});
  }
  calls.push_back({"clone into a new user and network namespace", ENOSYS, SYS_clone, {n(CLONE_NEWUSER | CLONE_NEWNET | SIGCHLD)}});
  calls.push_back({"clone3", ENOSYS, SYS_clone3, {"b:88", "88"}});
  return calls;
}

std::vector<Call> mount_calls() {
  return {{"mount tmpfs", EPERM, SYS_mount, {"s:none", "s:/tmp", "s:tmpfs", "0", "0"}},
          {"mount proc", EPERM, SYS_mount, {"s:proc", "s:/tmp", "s:proc", "0", "0"}},
          {"mount cgroup", EPERM, SYS_mount, {"s:none", "s:/tmp", "s:cgroup", "0", "s:memory"}},
          {"mount cgroup2", EPERM, SYS_mount, {"s:none", "s:/tmp", "s:cgroup2", "0", "0"}},
          {"bind mount", EPERM, SYS_mount, {"s:/", "s:/tmp", "0", n(MS_BIND | MS_REC), "0"}},
          {"remount writable", EPERM, SYS_mount, {"0", "s:/", "0", n(MS_REMOUNT | MS_BIND), "0"}},
          {"move mount", EPERM, SYS_mount, {"s:/proc", "s:/tmp", "0", n(MS_MOVE), "0"}},
          {"umount /proc", EPERM, SYS_umount2, {"s:/proc", n(MNT_DETACH)}},
          {"umount /", EPERM, SYS_umount2, {"s:/", n(MNT_DETACH)}},
          {"pivot_root", EPERM, SYS_pivot_root, {"s:/tmp", "s:/tmp"}},
          {"chroot", EPERM, SYS_chroot, {"s:/tmp"}},
          {"open_tree", EPERM, SYS_open_tree, {n(kAtCwd), "s:/", "1"}},
          {"move_mount", EPERM, SYS_move_mount, {"0", "s:", n(kAtCwd), "s:/tmp", "0"}},
          {"fsopen", EPERM, SYS_fsopen, {"s:tmpfs", "0"}},
          {"fsmount", EPERM, SYS_fsmount, {"0", "0", "0"}},
          {"fsconfig", EPERM, SYS_fsconfig, {"0", "0", "0", "0", "0"}},
          {"fspick", EPERM, SYS_fspick, {n(kAtCwd), "s:/", "0"}},
          {"mount_setattr", EPERM, kMountSetattr, {n(kAtCwd), "s:/", "0", "b:32", "32"}},
          {"quotactl", EPERM, SYS_quotactl, {"0", "s:/", "0", "0"}},
          {"quotactl_fd", EPERM, kQuotactlFd, {"0", "0", "0", "0"}},
          {"swapon", EPERM, SYS_swapon, {"s:/work/victim", "0"}},
          {"swapoff", EPERM, SYS_swapoff, {"s:/work/victim"}},
          {"name_to_handle_at", EPERM, SYS_name_to_handle_at, {n(kAtCwd), "s:/usr", "b:144", "b:4", "0"}},
          {"open_by_handle_at", EPERM, SYS_open_by_handle_at, {"0", "b:144", "0"}},
          {"nfsservctl", EPERM, SYS_nfsservctl, {"0", "0", "0"}},
          {"acct", EPERM, SYS_acct, {"s:/work/victim"}},
          {"fanotify_init", EPERM, SYS_fanotify_init, {"0", "0"}},
          {"fanotify_mark", EPERM, SYS_fanotify_mark, {"0", "1", "1", n(kAtCwd), "s:/"}},
          {"vhangup", EPERM, SYS_vhangup, {}},
          {"ustat", EPERM, SYS_ustat, {"0", "b:32"}}};
}

std::vector<Call> kernel_calls() {
  return {{"bpf", EPERM, SYS_bpf, {"0", "b:128", "128"}},
          {"perf_event_open", EPERM, SYS_perf_event_open, {"b:128", "0", n(~0UL), n(~0UL), "0"}},
          {"userfaultfd", EPERM, SYS_userfaultfd, {"1"}},
          {"io_uring_setup", EPERM, SYS_io_uring_setup, {"1", "b:128"}},
          {"io_uring_enter", EPERM, SYS_io_uring_enter, {"0", "0", "0", "0"}},
          {"io_uring_register", EPERM, SYS_io_uring_register, {"0", "0", "0", "0"}},
          {"keyctl", EPERM, SYS_keyctl, {"0", n(~0UL), "1"}},
          {"add_key", EPERM, SYS_add_key, {"s:user", "s:name", "s:value", "5", n(~3UL)}},
          {"request_key", EPERM, SYS_request_key, {"s:user", "s:name", "0", "0"}},
          {"kexec_load", EPERM, SYS_kexec_load, {"0", "0", "0", "0"}},
          {"kexec_file_load", EPERM, SYS_kexec_file_load, {"0", "0", "0", "s:", "0"}},
          {"init_module", EPERM, SYS_init_module, {"b:64", "64", "s:"}},
          {"finit_module", EPERM, SYS_finit_module, {"0", "s:", "0"}},
          {"delete_module", EPERM, SYS_delete_module, {"s:loop", "0"}},
          {"reboot", EPERM, SYS_reboot, {n(0xfee1dead), n(672274793), "0", "0"}},  // CAD_OFF, harmless even where it works
          {"syslog", EPERM, SYS_syslog, {"3", "b:64", "64"}},
          {"iopl", EPERM, SYS_iopl, {"3"}},
          {"ioperm", EPERM, SYS_ioperm, {"0x80", "1", "1"}},
          {"modify_ldt", EPERM, SYS_modify_ldt, {"1", "b:16", "16"}},
          {"uselib", EPERM, SYS_uselib, {"s:/work/victim"}},
          {"lookup_dcookie", EPERM, SYS_lookup_dcookie, {"0", "b:64", "64"}},
          {"io_setup", ENOSYS, SYS_io_setup, {"65536", "b:8"}},
          {"memfd_secret", ENOSYS, kMemfdSecret, {"0"}},
          {"personality ADDR_NO_RANDOMIZE", ENOSYS, SYS_personality, {"0x0040000"}},
          {"personality READ_IMPLIES_EXEC", ENOSYS, SYS_personality, {"0x0400000"}},
          {"personality with high bits", ENOSYS, SYS_personality, {n(kHigh | 0x0400000)}},
          {"settimeofday", EPERM, SYS_settimeofday, {"b:16", "0"}},
          {"clock_settime", EPERM, SYS_clock_settime, {"0", "b:16"}},
          {"clock_adjtime", EPERM, SYS_clock_adjtime, {"0", "b:208"}},
          {"adjtimex", EPERM, SYS_adjtimex, {"b:208"}},
          {"sethostname", EPERM, SYS_sethostname, {"s:x", "1"}},
          {"setdomainname", EPERM, SYS_setdomainname, {"s:x", "1"}},
          {"a call of nobody's", ENOSYS, 1023, {}}};
}

std::vector<Call> quiet_calls() {
  return {{"sync", 0, SYS_sync, {}},
          {"syncfs of nothing", 0, SYS_syncfs, {"9999"}},
          {"fsync of nothing", 0, SYS_fsync, {"9999"}},
          {"fdatasync of nothing", 0, SYS_fdatasync, {"9999"}},
          {"sync_file_range of nothing", 0, SYS_sync_file_range, {"9999", "0", "0", "7"}},
          {"fadvise of nothing", 0, SYS_fadvise64, {"9999", "0", "0", n(POSIX_FADV_DONTNEED)}},
          {"synchronous msync of nothing", 0, SYS_msync, {"0x1000", "4096", n(MS_SYNC)}},
          {"asynchronous msync of nothing", ENOMEM, SYS_msync, {"0x1000", "4096", n(MS_ASYNC)}}};
}

std::vector<Call> process_calls() {
  return {{"kill init", EPERM, SYS_kill, {"1", "9"}},
          {"ptrace init", EPERM, SYS_ptrace, {n(PTRACE_ATTACH), "1", "0", "0"}},
          {"seize init", EPERM, SYS_ptrace, {n(PTRACE_SEIZE), "1", "0", "0"}},
          {"process_vm_readv", EPERM, SYS_process_vm_readv, {"1", "b:16", "1", "b:16", "1", "0"}},
          {"process_vm_writev", EPERM, SYS_process_vm_writev, {"1", "b:16", "1", "b:16", "1", "0"}},
          {"process_madvise", EPERM, kProcessMadvise, {"0", "0", "0", "0", "0"}},
          {"process_mrelease", EPERM, kProcessMrelease, {"0", "0"}},
          {"pidfd_getfd", EPERM, SYS_pidfd_getfd, {"0", "0", "0"}},
          {"kcmp", EPERM, SYS_kcmp, {"1", "2", "0", "0", "0"}},
          {"migrate_pages", EPERM, SYS_migrate_pages, {"1", "64", "b:8", "b:8"}},
          {"move_pages", EPERM, SYS_move_pages, {"1", "0", "0", "0", "0", "0"}},
          {"seccomp with a listener", EPERM, SYS_seccomp, {"1", "8", "b:16"}},
          {"seccomp strict", EPERM, SYS_seccomp, {"0", "0", "0"}},
          {"seccomp sizes", EPERM, SYS_seccomp, {"3", "0", "b:6"}},
          {"setuid 0", EPERM, SYS_setuid, {"0"}},
          {"setuid of nobody's", EINVAL, SYS_setuid, {"1"}},
          {"setresuid 0", EPERM, SYS_setresuid, {n(~0UL), "0", n(~0UL)}},
          {"setgid 0", EPERM, SYS_setgid, {"0"}},
          {"setgid of nobody's", EINVAL, SYS_setgid, {"65534"}},
          {"setresgid 0", EPERM, SYS_setresgid, {"0", "0", "0"}},
          {"setgroups", EPERM, SYS_setgroups, {"1", "b:4"}},
          {"drop all groups", EPERM, SYS_setgroups, {"0", "0"}},
          {"capset", EPERM, SYS_prctl, {n(PR_CAPBSET_DROP), "0"}},
          {"ambient capability", EPERM, SYS_prctl, {n(PR_CAP_AMBIENT), n(PR_CAP_AMBIENT_RAISE), "21", "0", "0"}},
          {"keep capabilities", EPERM, SYS_prctl, {n(PR_SET_SECUREBITS), "1"}},
          {"no_new_privs off", EINVAL, SYS_prctl, {n(PR_SET_NO_NEW_PRIVS), "0", "0", "0", "0"}},
          {"core scheduling", EPERM, SYS_prctl, {"62", "1", "0", "0", "0"}},
          {"core scheduling with high bits", EPERM, SYS_prctl, {n(kHigh | 62), "1", "0", "0", "0"}},
          {"memory map of its own", EPERM, SYS_prctl, {n(PR_SET_MM), n(PR_SET_MM_BRK), "0", "0", "0"}},
          {"nice below 0", EACCES, SYS_setpriority, {n(PRIO_PROCESS), "0", n(~4UL)}},
          {"SCHED_FIFO", EPERM, SYS_sched_setscheduler, {"0", n(SCHED_FIFO), "s:\001"}},
          {"SCHED_RR", EPERM, SYS_sched_setscheduler, {"0", n(SCHED_RR), "s:\001"}},
          {"I/O priority", EPERM, SYS_ioprio_set, {"1", "0", n(1UL << 13)}},
          {"best-effort I/O priority", EPERM, SYS_ioprio_set, {"1", "0", n(2UL << 13)}},
          {"mlock of everything", ENOMEM, SYS_mlock, {"0x10000", n(1UL << 30)}},
          {"more locked memory", EPERM, SYS_prlimit64, {"0", n(RLIMIT_MEMLOCK), "s:" + std::string(16, '\x7f'), "0"}},
          {"more real time", EPERM, SYS_prlimit64, {"0", n(RLIMIT_RTPRIO), "s:" + std::string(16, '\x7f'), "0"}},
          {"a page at 0", EPERM, SYS_mmap, {"0", "4096", "3", n(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), n(~0UL), "0"}}};
}

/// What tells of the host or sets something of it: no part of this /proc, and there is no /sys.
std::vector<Call> file_calls() {
  auto all = device_calls();
  for (auto* more : {&image_calls, &host_calls})
    for (auto& call : more()) all.push_back(std::move(call));
  return all;
}

std::string script_of(const std::vector<Call>& calls) {
  std::string script;
  for (const auto& call : calls) {
    script += std::to_string(call.number);
    for (const auto& argument : call.arguments) script += " " + argument;
    script += "\n";
  }
  return script;
}

void expect_refused(const std::string& printed, const std::vector<Call>& calls) {
  std::istringstream lines(printed);
  for (const auto& call : calls) {
    std::string result;
    ASSERT_TRUE(std::getline(lines, result)) << "no answer to: " << call.what;
    EXPECT_EQ(result, call.error == 0 ? "ok" : strerrorname_np(call.error)) << call.what;
  }
}

}  // namespace bailiff::sandbox::testing
