#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>

#include "tests/sandbox/victims.h"

namespace {

void tell(const char* name, bool works) { std::printf("%s: %s\n", name, works ? "ok" : strerrorname_np(errno)); }

/// Each device does what it is there for.
int use_devices() {
  char bytes[8] = "aaaaaaa";
  const auto opened = [](const char* name) { return open((std::string("/dev/") + name).c_str(), O_RDWR | O_CLOEXEC); };
  tell("null", write(opened("null"), bytes, 1) == 1 && read(opened("null"), bytes, 1) == 0);
  tell("zero", read(opened("zero"), bytes, sizeof bytes) == sizeof bytes && std::memcmp(bytes, "\0\0\0\0\0\0\0", sizeof bytes) == 0);
  tell("full", write(opened("full"), bytes, 1) < 0 && errno == ENOSPC);
  tell("random", read(opened("random"), bytes, sizeof bytes) == sizeof bytes);
  tell("urandom", read(opened("urandom"), bytes, sizeof bytes) == sizeof bytes);
  const int terminal_maker = posix_openpt(O_RDWR | O_CLOEXEC);  // no O_NOCTTY: what it makes becomes the terminal of this session
  tell("ptmx", terminal_maker >= 0 && unlockpt(terminal_maker) == 0);
  const char* terminal = ptsname(terminal_maker);
  tell("pts", terminal != nullptr && open(terminal, O_RDWR | O_CLOEXEC) >= 0);
  tell("tty", opened("tty") >= 0);
  return 0;
}

/// A process and its children and theirs, all busy.
[[noreturn]] void fork_tree() {
  for (int level = 0; level < 3; ++level) (void)!fork();
  while (true) asm volatile("");
}

/// A file from its beginning to its end.
int read_file(const Arguments& arguments) {
  static char buffer[65536];
  const int fd = open(arguments.at(0).c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) {}
  return n == 0 ? 0 : errno;
}

/// So many MiB of a file at once, past the page cache: nothing ends the wait for it but the disk.
int read_at_once(const Arguments& arguments) {
  const std::size_t bytes = std::stoull(arguments.at(1)) << 20;
  void* buffer = std::aligned_alloc(4096, bytes);
  const int fd = open(arguments.at(0).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  return read(fd, buffer, bytes) == static_cast<ssize_t>(bytes) ? 0 : 1;
}

/// So many blocks of a file, each of them an operation on the disk.
int read_blocks(const Arguments& arguments) {
  alignas(4096) static char block[4096];
  const int fd = open(arguments.at(0).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  for (int i = 0; i < std::stoi(arguments.at(1)); ++i)
    if (pread(fd, block, sizeof block, static_cast<off_t>(i) * 8192) != sizeof block) return errno;
  return 0;
}

double cpu_ms() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

/// So many ms of CPU time of the whole process, spent by so many threads, nearly all of it outside the kernel.
int burst(const Arguments& arguments) {
  const double end = cpu_ms() + std::stod(arguments.at(1));
  const auto spin = [end] {
    while (cpu_ms() < end)
      for (int i = 0; i < 100'000; ++i) asm volatile("");
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::stoi(arguments.at(0)); ++i) threads.emplace_back(spin);
  spin();
  for (auto& thread : threads) thread.join();
  return 0;
}

/// So many ms of CPU time, nearly all of it inside the kernel.
int spin_in_kernel(const Arguments& arguments) {
  static char buffer[1 << 20];
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  for (const double end = cpu_ms() + std::stod(arguments.at(0)); cpu_ms() < end;)
    if (read(zero, buffer, sizeof buffer) != sizeof buffer) return 1;
  return 0;
}

std::string affinity() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return strerrorname_np(errno);
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mask)) list += " " + std::to_string(cpu);
  return list;
}

/// Its CPUs, and what comes of asking for so many: for each alone, then for all at once.
int ask_for_cpus(const Arguments& arguments) {
  std::printf("has%s\n", affinity().c_str());
  cpu_set_t all;
  CPU_ZERO(&all);
  for (int cpu = 0; cpu < std::stoi(arguments.at(0)); ++cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CPU_SET(cpu, &all);
    std::printf("%d: %s\n", cpu, sched_setaffinity(0, sizeof one, &one) == 0 ? "ok" : strerrorname_np(errno));
  }
  const bool set = sched_setaffinity(0, sizeof all, &all) == 0;
  std::printf("all: %s%s\n", set ? "ok" : strerrorname_np(errno), affinity().c_str());
  return 0;
}

}  // namespace

const Victims& cgroup_victims() {
  static const Victims victims = {
      {"fork_tree", [](const Arguments&) -> int { fork_tree(); }},
      {"read_file", read_file},
      {"read_at_once", read_at_once},
      {"read_blocks", read_blocks},
      {"ask_for_cpus", ask_for_cpus},
      {"burst", burst},
      {"spin_in_kernel", spin_in_kernel},
      {"use_devices", [](const Arguments&) { return use_devices(); }},
  };
  return victims;
}
