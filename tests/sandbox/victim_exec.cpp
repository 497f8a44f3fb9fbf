#include "tests/sandbox/victim_exec.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>

namespace {

std::string link_of(const std::string& path) {
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof target);
  return n < 0 ? "" : std::string(target, static_cast<std::size_t>(n));
}

/// The process is still our entrance: it is there, and this /proc does not show it. What it executes is a process like our own.
bool has_not_executed(const std::string& proc) {
  std::string name;
  std::getline(std::ifstream(proc + "/comm"), name);
  return name.empty() && kill(std::stoi(proc.substr(std::strlen("/proc/"))), 0) == 0;
}

struct Ambush {
  int seen = 0, caught = 0;
  std::set<std::string> breaches;

  void attack(pid_t pid) {
    const std::string proc = "/proc/" + std::to_string(pid);
    if (!has_not_executed(proc)) return;
    ++seen;
    if (kill(pid, SIGSTOP) == 0 && has_not_executed(proc)) ++caught;
    for (const char* link : {"/exe", "/root", "/cwd"}) {
      expect_refused(proc, link, !link_of(proc + link).empty());
      for (const int flags : {O_PATH, O_RDONLY, O_WRONLY}) expect_refused(proc, link, open((proc + link).c_str(), flags | O_CLOEXEC) >= 0);
    }
    for (const char* file : {"/mem", "/environ", "/maps", "/auxv", "/stack", "/syscall", "/io", "/personality"})
      expect_refused(proc, file, open((proc + file).c_str(), O_RDONLY | O_CLOEXEC) >= 0);
    expect_refused(proc, "write /mem", open((proc + "/mem").c_str(), O_RDWR | O_CLOEXEC) >= 0);
    expect_refused(proc, "/root/etc", open((proc + "/root/etc/passwd").c_str(), O_RDONLY | O_CLOEXEC) >= 0);
    for (int fd = 0; fd < 64; ++fd) expect_refused(proc, "/fd", !link_of(proc + "/fd/" + std::to_string(fd)).empty());
    for (const auto request : {PTRACE_SEIZE, PTRACE_ATTACH}) {
      const bool traced = ptrace(request, pid, nullptr, nullptr) == 0;
      expect_refused(proc, "ptrace", traced);
      if (!traced) continue;
      // Once it has executed this is allowed; it must stop before it can be let go.
      if (request == PTRACE_SEIZE) (void)ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
      (void)waitpid(pid, nullptr, __WALL);
      (void)ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    }
    (void)kill(pid, SIGCONT);
    for (int fd = 3; fd < 1024; ++fd)
      if (fd != kept) close(fd);
  }

  /// What was got is a breach while it has not executed; afterwards it is a process like our own.
  void expect_refused(const std::string& proc, const char* what, bool got) {
    if (got && has_not_executed(proc)) breaches.insert(what);
  }

  int kept = -1;
};

}  // namespace

int tell_facts() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    for (const char* key : {"Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:", "Sig", "PPid", "TracerPid"})
      if (line.starts_with(key)) std::printf("%s\n", line.c_str());
  for (const char* type : {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time", "time_for_children", "pid_for_children"})
    std::printf("%s %s\n", type, link_of(std::string("/proc/self/ns/") + type).c_str());
  for (const char* file : {"/proc/self/cgroup", "/proc/self/oom_score_adj", "/proc/self/limits"}) {
    std::ifstream text(file);
    for (std::string line; std::getline(text, line);) std::printf("%s\n", line.c_str());
  }
  std::printf("root %s cwd %s\n", link_of("/proc/self/root").c_str(), link_of("/proc/self/cwd").c_str());
  std::printf("umask %o nice %d session %d\n", umask(0), getpriority(PRIO_PROCESS, 0), getsid(0) == getpid());
  return 0;
}

int hide_behind_a_name() {
  (void)prctl(PR_SET_NAME, "a\n\x1b[2J\xff)");
  std::printf("ready\n");
  std::fflush(stdout);
  while (true) pause();
}

int tell_terminal() {
  winsize size{};
  (void)ioctl(0, TIOCGWINSZ, &size);
  const char* name = ttyname(2);
  std::printf("%d%d%d %s %d %d foreground %d own %d\n", isatty(0), isatty(1), isatty(2), name == nullptr ? "none" : name, size.ws_row,
              size.ws_col, tcgetpgrp(0) == getpgrp(), open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0);
  return 0;
}

int ambush() {
  constexpr pid_t kAhead = 64;
  Ambush trap;
  std::printf("ready\n");
  std::fflush(stdout);
  // Numbers are given in turn.
  for (pid_t last = getpid(); access("/tmp/stop", F_OK) != 0;)
    for (pid_t pid = last + 1; pid <= last + kAhead; ++pid)
      if (kill(pid, 0) == 0) {
        last = pid;
        trap.attack(pid);
      }
  std::printf("seen %d caught %d breaches", trap.seen, trap.caught);
  for (const auto& breach : trap.breaches) std::printf(" %s", breach.c_str());
  std::printf("\n");
  return 0;
}
