// Small victim programs, one behaviour each: victim NAME [ARG …]. What it reports on stdout is what it saw; the tests look from outside
// too.
#include <dirent.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "tests/sandbox/victim_exec.h"
#include "tests/sandbox/victims.h"

namespace {

double cpu_seconds(clockid_t clock) {
  timespec used{};
  clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}
void spin(clockid_t clock, double seconds) {
  const double end = cpu_seconds(clock) + seconds;
  while (cpu_seconds(clock) < end) {}
}
/// Spins for microseconds of CPU time; prints the process's CPU clock before and after, in nanoseconds, as the program itself sees it.
int spin_and_tell(const Arguments& arguments) {
  const double start = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
  spin(CLOCK_PROCESS_CPUTIME_ID, static_cast<double>(number(arguments)) / 1e6);
  std::printf("%.0f %.0f\n", start * 1e9, cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) * 1e9);
  return 0;
}
/// The same work for the same argument: rounds of arithmetic over 256 KiB. 0 is forever.
int compute(const Arguments& arguments) {
  constexpr std::size_t kWords = 32 * 1024;
  static std::uint64_t words[kWords];
  const std::size_t rounds = number(arguments);
  std::uint64_t state = 1;
  for (std::size_t round = 0; rounds == 0 || round < rounds; ++round)
    for (auto& word : words) word = state = (state ^ word) * 6364136223846793005U + 1442695040888963407U;
  std::printf("%016llx\n", static_cast<unsigned long long>(state));
  return 0;
}
[[noreturn]] void spin_forever() {
  while (true) asm volatile("");
}

int fill_file(const char* path, std::size_t bytes) {
  const int fd = open(path, O_CREAT | O_WRONLY, 0600);
  const std::string block(kMiB, 'x');
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n = write(fd, block.data(), std::min(block.size(), bytes - done));
    if (n < 0) {
      std::printf("%s\n", strerrorname_np(errno));
      return 3;
    }
    done += static_cast<std::size_t>(n);
  }
  return 0;
}

void write_bytes(int fd, std::size_t bytes) {
  const std::string block(65536, 'y');
  while (bytes > 0) {
    const ssize_t n = write(fd, block.data(), std::min(block.size(), bytes));
    if (n <= 0) std::exit(4);
    bytes -= static_cast<std::size_t>(n);
  }
}

volatile bool keep_recursing = true;
int recurse(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return keep_recursing ? recurse(depth + 1) + frame[0] : 0;
}

int count_forks() {
  int made = 0;
  while (true) {
    const pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    if (child < 0) break;
    ++made;
  }
  std::printf("%d %s\n", made, strerrorname_np(errno));
  return 0;
}

int count_threads() {
  int made = 0;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 65536);
  for (pthread_t thread; pthread_create(&thread, &attributes, [](void*) -> void* { return pause(), nullptr; }, nullptr) == 0;) ++made;
  std::printf("%d\n", made);
  std::fflush(stdout);
  _exit(0);
}

[[noreturn]] void fork_bomb() {
  while (true) (void)!fork();
}

int list_fds() {
  DIR* directory = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(directory))
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != dirfd(directory)) std::printf("%s ", entry->d_name);
  std::printf("\n");
  return 0;
}

int list_pids() {
  DIR* directory = opendir("/proc");
  int others = 0;
  while (const dirent* entry = readdir(directory))
    if (std::atoi(entry->d_name) > 1 && std::atoi(entry->d_name) != getpid()) ++others;
  std::printf("%d\n", others);
  return 0;
}

int identity() {
  utsname names{};
  uname(&names);
  timespec monotonic{};
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  char cwd[256];
  std::printf("uid %d gid %d pid %d host %s domain %s cwd %s uptime %ld\n", getuid(), getgid(), getpid(), names.nodename, names.domainname,
              getcwd(cwd, sizeof cwd), monotonic.tv_sec);
  return 0;
}

/// A mark in every kind of System V and POSIX object: "new" when nobody left one before.
int leave_marks() {
  const bool segment = shmget(0x4711, 4096, IPC_CREAT | IPC_EXCL | 0600) >= 0;
  const bool queue = msgget(0x4711, IPC_CREAT | IPC_EXCL | 0600) >= 0;
  const bool posix_segment = shm_open("/mark", O_CREAT | O_EXCL | O_RDWR, 0600) >= 0;
  const bool file = open("/tmp/mark", O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0;
  const bool work_file = open("/work/mark", O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, "\0mark", 5);
  const bool socket_name = bind(socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t) + 5) == 0;
  std::printf("%s\n", segment && queue && posix_segment && file && work_file && socket_name ? "new" : "seen");
  return 0;
}

/// What outlives its parent: a double-forked daemon that keeps stdout open and writes on.
int daemonize() {
  if (fork() == 0) {
    setsid();
    if (fork() == 0) {
      std::signal(SIGTERM, SIG_IGN);
      while (true) {
        (void)!write(1, ".", 1);
        usleep(1000);
      }
    }
    _exit(0);
  }
  usleep(20'000);
  return 0;
}

/// CPU time spent in children that are reaped, one after another.
int spin_in_children(const Arguments& arguments) {
  for (std::size_t i = 0; i < number(arguments); ++i) {
    const pid_t child = fork();
    if (child == 0) {
      spin(CLOCK_PROCESS_CPUTIME_ID, 0.05);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
  }
  return 0;
}

int spin_in_threads(const Arguments& arguments) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < number(arguments); ++i) threads.emplace_back([] { spin_forever(); });
  for (auto& thread : threads) thread.join();
  return 0;
}

int make_files(const Arguments& arguments) {
  std::size_t made = 0;
  for (; made < number(arguments); ++made)
    if (open(("/work/f" + std::to_string(made)).c_str(), O_CREAT | O_WRONLY, 0600) < 0 && errno != EMFILE) break;
    else
      for (int fd = 3; fd < 8; ++fd) close(fd);
  std::printf("%zu %s\n", made, made < number(arguments) ? strerrorname_np(errno) : "all");
  return 0;
}

/// Things a collector must not follow or block on, beside one good file.
int plant_traps() {
  (void)!mkdir("out", 0755);
  (void)!symlink("/etc/passwd", "out/link");
  (void)!symlink("../../../../../etc/passwd", "out/up");
  mkfifo("out/fifo", 0666);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, "out/socket");
  (void)!bind(socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<sockaddr*>(&name), sizeof name);
  const int sparse = open("out/sparse", O_CREAT | O_WRONLY, 0600);
  (void)!ftruncate(sparse, 200 * kMiB);
  close(open("out/unreadable", O_CREAT | O_WRONLY, 0000));
  close(open("out/\xff\xfe", O_CREAT | O_WRONLY, 0644));
  const int good = open("out/good", O_CREAT | O_WRONLY, 0644);
  (void)!write(good, "good", 4);
  std::string deep = "out";
  for (int i = 0; i < 40 && mkdir((deep += "/d").c_str(), 0755) == 0; ++i) {}
  return 0;
}

const Victims kVictims = {
    {"exit", [](const Arguments& a) { return static_cast<int>(number(a)); }},
    {"signal",
     [](const Arguments& a) {
       std::signal(static_cast<int>(number(a)), SIG_DFL);
       raise(static_cast<int>(number(a)));
       return 99;
     }},
    {"spin",
     [](const Arguments& a) {
       spin(CLOCK_PROCESS_CPUTIME_ID, static_cast<double>(number(a)) / 1000);
       return 0;
     }},
    {"spin_and_tell", spin_and_tell},
    {"compute", compute},
    {"spin_forever", [](const Arguments&) -> int { spin_forever(); }},
    {"spin_blocking_signals",
     [](const Arguments&) -> int {
       sigset_t all;
       sigfillset(&all);
       sigprocmask(SIG_SETMASK, &all, nullptr);
       spin_forever();
     }},
    {"spin_in_children", spin_in_children},
    {"spin_in_threads", spin_in_threads},
    {"spin_in_daemon",
     [](const Arguments&) -> int {
       if (fork() == 0) {
         if (fork() == 0) spin_forever();
         _exit(0);
       }
       while (true) pause();
     }},
    {"sleep",
     [](const Arguments& a) {
       usleep(static_cast<useconds_t>(number(a)) * 1000);
       return 0;
     }},
    {"stop",
     [](const Arguments&) {
       raise(SIGSTOP);
       return 0;
     }},
    {"read_stdin",
     [](const Arguments&) {
       char c;
       while (read(0, &c, 1) > 0) {}
       return 0;
     }},
    {"cat",
     [](const Arguments&) {
       char b[65536];
       for (ssize_t n; (n = read(0, b, sizeof b)) > 0;)
         if (write(1, b, static_cast<std::size_t>(n)) != n) return 5;
       return 0;
     }},
    {"allocate",
     [](const Arguments& a) {
       touch(mmap(nullptr, number(a) * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), number(a) * kMiB);
       return 0;
     }},
    {"reserve",
     [](const Arguments& a) {
       return mmap(nullptr, number(a) * kMiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED ? 1 : 0;
     }},
    {"allocate_in_children",
     [](const Arguments& a) {
       for (std::size_t i = 0; i < number(a); ++i)
         if (fork() == 0) {
           touch(std::malloc(kMiB * 8), kMiB * 8);
           pause();
         }
       usleep(3'000'000);
       return 0;
     }},
    {"fill_tmp", [](const Arguments& a) { return fill_file("/tmp/big", number(a) * kMiB); }},
    {"fill_shm", [](const Arguments& a) { return fill_file("/dev/shm/big", number(a) * kMiB); }},
    {"fill_work", [](const Arguments& a) { return fill_file("/work/big", number(a) * kMiB); }},
    {"fill_memfd",
     [](const Arguments& a) {
       const int fd = memfd_create("m", 0);
       return ftruncate(fd, static_cast<off_t>(number(a) * kMiB)) == 0
                  ? (touch(mmap(nullptr, number(a) * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), number(a) * kMiB), 0)
                  : 1;
     }},
    {"recurse", [](const Arguments&) { return recurse(0); }},
    {"count_forks", [](const Arguments&) { return count_forks(); }},
    {"count_threads", [](const Arguments&) { return count_threads(); }},
    {"fork_bomb", [](const Arguments&) -> int { fork_bomb(); }},
    {"write_out",
     [](const Arguments& a) {
       write_bytes(1, number(a));
       return 0;
     }},
    {"write_err",
     [](const Arguments& a) {
       write_bytes(2, number(a));
       return 0;
     }},
    {"write_forever",
     [](const Arguments&) -> int {
       std::signal(SIGPIPE, SIG_IGN);
       while (true) write_bytes(1, 65536);
     }},
    {"daemonize", [](const Arguments&) { return daemonize(); }},
    {"list_fds", [](const Arguments&) { return list_fds(); }},
    {"list_pids", [](const Arguments&) { return list_pids(); }},
    {"identity", [](const Arguments&) { return identity(); }},
    {"facts", [](const Arguments&) { return tell_facts(); }},
    {"hide_behind_a_name", [](const Arguments&) { return hide_behind_a_name(); }},
    {"terminal", [](const Arguments&) { return tell_terminal(); }},
    {"ambush", [](const Arguments&) { return ambush(); }},
    {"leave_marks", [](const Arguments&) { return leave_marks(); }},
    {"make_files", make_files},
    {"plant_traps", [](const Arguments&) { return plant_traps(); }},
    {"environment",
     [](const Arguments&) {
       for (char** v = environ; *v != nullptr; ++v) std::puts(*v);
       return 0;
     }},
    {"print_file",
     [](const Arguments& a) {
       char b[4096];
       const int fd = open(a.at(0).c_str(), O_RDONLY);
       if (fd < 0) return errno;
       for (ssize_t n; (n = read(fd, b, sizeof b)) > 0;) (void)!write(1, b, static_cast<std::size_t>(n));
       return 0;
     }},
    {"write_file",
     [](const Arguments& a) {
       const int fd = open(a.at(0).c_str(), O_CREAT | O_WRONLY, 0644);
       if (fd < 0 || write(fd, a.at(1).data(), a.at(1).size()) <= 0) return 1;
       if (a.size() > 2) pause();
       return 0;
     }},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Victims* victims : {&kVictims, &cgroup_victims(), &memory_victims(), &process_victims(), &output_victims(), &file_victims(),
                                 &escape_victims(), &network_victims()})
    if (const auto victim = argc > 1 ? victims->find(argv[1]) : victims->end(); victim != victims->end())
      return victim->second(Arguments(argv + 2, argv + argc));
  return 98;
}
