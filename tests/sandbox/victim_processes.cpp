// Processes and threads: as many as there may be, in every way of making them; and programs that wait for what never comes.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "tests/sandbox/victims.h"

namespace {

double cpu_seconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

/// Uses so much CPU time and ends.
void spin_ms(std::size_t milliseconds) {
  for (const double end = cpu_seconds() + static_cast<double>(milliseconds) / 1000; cpu_seconds() < end;) {}
}

/// COUNT threads that use MS of CPU time each.
int threads(const Arguments& arguments) {
  std::vector<pthread_t> all(number(arguments));
  static std::atomic<long> milliseconds;
  milliseconds = static_cast<long>(number(arguments, 1));
  const auto work = [](void*) -> void* {
    timespec used{};
    do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1'000'000 < milliseconds);
    return nullptr;
  };
  for (auto& thread : all)
    if (pthread_create(&thread, nullptr, work, nullptr) != 0) return 1;
  for (auto& thread : all) pthread_join(thread, nullptr);
  return 0;
}

/// COUNT children at the same time, reaped or not, that use MS of CPU time each.
int children(const Arguments& arguments) {
  for (std::size_t i = 0; i < number(arguments); ++i)
    if (fork() == 0) {
      spin_ms(number(arguments, 1));
      _exit(0);
    }
  while (wait(nullptr) > 0) {}
  return 0;
}

/// One child after the other: none is alive for long, and all are reaped.
int children_in_turn(const Arguments& arguments) {
  for (std::size_t i = 0; i < number(arguments); ++i) {
    if (fork() == 0) {
      spin_ms(number(arguments, 1));
      _exit(0);
    }
    wait(nullptr);
  }
  return 0;
}

/// The work is done by a daemon: a session of its own, no parent. Its end is seen on a pipe.
int daemon_works(const Arguments& arguments) {
  int ends[2];
  if (pipe(ends) != 0) return 1;
  if (fork() == 0) {
    setsid();
    if (fork() == 0) {
      spin_ms(number(arguments));
      (void)!write(ends[1], "x", 1);
    }
    _exit(0);
  }
  char byte = 0;
  return read(ends[0], &byte, 1) == 1 ? 0 : 1;
}

int block_signals_and_spin(const Arguments& arguments) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_IGN);
  spin_ms(number(arguments));
  return 0;
}

/// Threads, as many as there may be, and then more.
[[noreturn]] void thread_bomb() {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 32 << 10);
  pthread_t thread{};
  while (true) (void)pthread_create(&thread, &small, [](void*) -> void* { return pause(), nullptr; }, nullptr);
}

/// Each child is made by vfork, so its parent stands still until it is gone; it makes the next. Every one has a stack of its own.
int vfork_level(void* depth) {
  auto& made = *static_cast<int*>(depth);
  constexpr std::size_t kStack = 32 << 10;
  char* stack = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (stack == MAP_FAILED) return 1;
  ++made;
  if (clone(&vfork_level, stack + kStack, CLONE_VM | CLONE_VFORK | SIGCHLD, depth) < 0) --made;
  return 0;
}

int vfork_chain(const Arguments&) {
  int made = 0;
  vfork_level(&made);
  std::printf("%d\n", made);
  return 0;
}

/// Children that have ended and are not waited for.
int zombies(const Arguments&) {
  int made = 0;
  for (pid_t child = 0; (child = fork()) >= 0; ++made)
    if (child == 0) _exit(0);
  std::printf("%d\n", made);
  return 0;
}

/// Orphans, made by parents that end at once, with sessions of their own.
[[noreturn]] void daemon_bomb() {
  while (true) {
    const pid_t child = fork();
    if (child == 0) {
      setsid();
      if (fork() != 0) _exit(0);
      for (int fd = 0; fd < 3; ++fd) close(fd);
    }
    if (child > 0) waitpid(child, nullptr, 0);
  }
}

/// Siblings instead of children: init is the parent of all of them.
[[noreturn]] void sibling_bomb() {
  while (true) (void)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0);
}

/// Stops and kills whatever it can reach, itself last.
int signal_everybody(const Arguments& arguments) {
  for (const int signal : {SIGSTOP, SIGTERM, SIGKILL}) (void)kill(-1, signal);
  std::printf("alive\n");
  std::fflush(stdout);
  return number(arguments) == 0 ? 0 : kill(0, static_cast<int>(number(arguments)));
}

/// Waits for ever: on a terminal that nobody types at, a pipe that nobody writes to, one that is full, a socket, a lock, a child.
int wait_for(const Arguments& arguments) {
  const std::string what = arguments.at(0);
  int ends[2];
  if (pipe(ends) != 0) return 1;
  char byte = 0;
  if (what == "input") {
    const int terminal = posix_openpt(O_RDWR);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) return 1;
    (void)dup2(open(ptsname(terminal), O_RDWR | O_NOCTTY), 0);
    (void)!read(0, &byte, 1);
  }
  if (what == "pipe") (void)!read(ends[0], &byte, 1);
  if (what == "full_pipe")
    for (const std::string block(4096, 'p'); write(ends[1], block.data(), block.size()) > 0;) {}
  if (what == "child") {
    if (fork() == 0) pause();
    wait(nullptr);
  }
  if (what == "vfork" && vfork() == 0) {
    pause();
    _exit(0);
  }
  if (what == "traced_child") {
    if (fork() == 0) {
      (void)syscall(SYS_ptrace, 0 /* PTRACE_TRACEME */, 0, nullptr, nullptr);
      raise(SIGSTOP);
    }
    pause();
  }
  if (what == "stopped_with_children") {
    for (int i = 0; i < 5; ++i)
      if (fork() == 0) raise(SIGSTOP);
    raise(SIGSTOP);
  }
  if (what == "closed_stdio") {
    for (int fd = 0; fd < 3; ++fd) close(fd);
    usleep(static_cast<useconds_t>(number(arguments, 1)) * 1000);
    return 0;
  }
  return 1;
}

/// A fixed amount of work, as an honest program does it: arithmetic, memory, files, processes, pipes.
int work(const Arguments& arguments) {
  unsigned long hash = 1;
  for (std::size_t round = 0; round < number(arguments); ++round) {
    constexpr std::size_t kBytes = 256 << 10;
    auto* memory = static_cast<volatile char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < kBytes; ++i) memory[i] = static_cast<char>(hash = hash * 6364136223846793005UL + 1442695040888963407UL);
    const int file = open("/work/out", O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (write(file, const_cast<const char*>(memory), kBytes) != static_cast<ssize_t>(kBytes)) return 1;
    close(file);
    munmap(const_cast<char*>(memory), kBytes);
    const pid_t child = fork();
    if (child == 0) _exit(7);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 2;
  }
  std::printf("%lx\n", hash);
  return 0;
}

/// A child goes on writing to stdout when its parent has ended well.
int child_writes_on(const Arguments& arguments) {
  if (fork() == 0) {
    const bool flood = !arguments.empty();
    const std::string block(flood ? 65536 : 1, 'c');
    while (write(1, block.data(), block.size()) > 0)
      if (!flood) usleep(1000);
    _exit(0);
  }
  (void)!write(1, "parent\n", 7);
  return 0;
}

}  // namespace

const Victims& process_victims() {
  static const Victims victims = {
      {"threads", threads},
      {"children", children},
      {"children_in_turn", children_in_turn},
      {"daemon_works", daemon_works},
      {"block_signals_and_spin", block_signals_and_spin},
      {"thread_bomb", [](const Arguments&) -> int { thread_bomb(); }},
      {"vfork_chain", vfork_chain},
      {"zombies", zombies},
      {"daemon_bomb", [](const Arguments&) -> int { daemon_bomb(); }},
      {"sibling_bomb", [](const Arguments&) -> int { sibling_bomb(); }},
      {"signal_everybody", signal_everybody},
      {"wait_for", wait_for},
      {"work", work},
      {"child_writes_on", child_writes_on},
  };
  return victims;
}
