// Ways out of the sandbox, and ways into another: system calls that must fail, files and objects that must not be there.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "tests/sandbox/victims.h"

namespace {

/// Makes the system calls that stdin names, a line each: NUMBER ARGUMENT …; an argument is a number, "s:text" (a pointer to the text, with
/// zeros behind it) or "b:bytes" (a pointer to so many zero bytes). Prints the errno, or "ok", a line each.
int calls(const Arguments&) {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    long number = 0, arguments[6] = {}, count = 0;
    words >> number;
    std::vector<std::string> memory;
    memory.reserve(6);
    for (std::string word; count < 6 && words >> word; ++count) {
      if (word.starts_with("s:"))
        arguments[count] = reinterpret_cast<long>(memory.emplace_back(word.substr(2) + std::string(16, '\0')).data());
      else if (word.starts_with("b:"))
        arguments[count] = reinterpret_cast<long>(memory.emplace_back(std::stoul(word.substr(2)), '\0').data());
      else arguments[count] = static_cast<long>(std::stoul(word, nullptr, 0));
    }
    const pid_t self = getpid();
    const long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    if (getpid() != self) _exit(1);  // a process that should not have been made
    std::puts(result < 0 ? strerrorname_np(errno) : "ok");
  }
  return 0;
}

/// int 0x80 in place of syscall: NUMBER is of the 32-bit table.
int call_32(const Arguments& arguments) {
  long result = static_cast<long>(number(arguments));
  asm volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory");
  return static_cast<int>(result);
}

/// A child stops at its harmless system calls, and its tracer makes others of them after the filter could have looked.
int rewrite_system_call(const Arguments&) {
  const pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    syscall(SYS_getpid, 0);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  while (WIFSTOPPED(status)) {
    user_regs_struct registers{};
    ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, nullptr, &registers) != 0 || registers.orig_rax != SYS_getpid) continue;
    registers.orig_rax = SYS_unshare;
    registers.rdi = CLONE_NEWUSER;
    ptrace(PTRACE_SETREGS, child, nullptr, &registers);
    ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    errno = static_cast<int>(-static_cast<long>(registers.rax));
    attempt("unshare", static_cast<long>(registers.rax) < 0 ? -1 : 0);
  }
  return 0;
}

/// Input pushed into a terminal of its own.
int push_terminal_input(const Arguments&) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) return 1;
  setsid();
  const int end = open(ptsname(terminal), O_RDWR);
  ioctl(end, TIOCSCTTY, 0);
  for (const unsigned long high : {0UL, 1UL << 32, 0xdeadbeefUL << 32}) attempt("TIOCSTI", syscall(SYS_ioctl, end, high | TIOCSTI, "x"));
  char line[2] = {3, 0};  // TIOCL_PASTESEL
  attempt("TIOCLINUX", syscall(SYS_ioctl, end, TIOCLINUX, line));
  return 0;
}

/// Prints which of the words are the path of something that can be opened, from any root that it can reach.
int find_files(const Arguments& arguments) {
  std::vector<std::string> roots = {"",
                                    "/../../../../../..",
                                    "/proc/self/root",
                                    "/proc/self/root/..",
                                    "/proc/self/cwd/../../../..",
                                    "/proc/1/root",
                                    "/proc/1/cwd",
                                    "/proc/self/task/1/root",
                                    "/dev/fd/0/../../../../.."};
  for (int fd = 0; fd < 1024; ++fd) {
    roots.push_back("/proc/self/fd/" + std::to_string(fd));
    roots.push_back("/proc/self/fd/" + std::to_string(fd) + "/../../../../..");
  }
  for (int pid = 1; pid < 100; ++pid)
    for (const char* link : {"/root", "/cwd", "/fd/3", "/fd/4", "/map_files"}) roots.push_back("/proc/" + std::to_string(pid) + link);
  for (const auto& root : roots)
    for (const auto& path : arguments)
      if (open((root + path).c_str(), O_PATH) >= 0) std::printf("%s%s\n", root.c_str(), path.c_str());
  return 0;
}

/// Prints the directories in which it can make a file.
int find_writable(const Arguments& arguments) {
  static std::size_t depth = 0;
  depth = number(arguments);
  const auto visit = [](const char* path, const struct stat*, int kind, FTW* walk) {
    if (kind != FTW_D || std::strncmp(path, "/proc", 5) == 0) return static_cast<int>(FTW_SKIP_SUBTREE);
    const int fd = open((std::string(path) + "/.bailiff-probe").c_str(), O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) std::puts(path);
    close(fd);
    return static_cast<int>(static_cast<std::size_t>(walk->level) >= depth ? FTW_SKIP_SUBTREE : FTW_CONTINUE);
  };
  return nftw("/", visit, 64, FTW_PHYS | FTW_ACTIONRETVAL);
}

/// Prints what is below DIRECTORY: name, kind, device numbers.
int list_nodes(const Arguments& arguments) {
  DIR* directory = opendir(arguments.at(0).c_str());
  while (const dirent* entry = directory != nullptr ? readdir(directory) : nullptr) {
    struct stat info{};
    if (entry->d_name[0] == '.' || fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const char kind = S_ISCHR(info.st_mode)   ? 'c'
                      : S_ISBLK(info.st_mode) ? 'b'
                      : S_ISDIR(info.st_mode) ? 'd'
                      : S_ISLNK(info.st_mode) ? 'l'
                                              : '-';
    std::printf("%s %c %u:%u\n", entry->d_name, kind, major(info.st_rdev), minor(info.st_rdev));
  }
  return 0;
}

/// Each descriptor that it has been given: number, kind, whether it is a terminal, whether it can be written.
int describe_fds(const Arguments&) {
  for (int fd = 0; fd < 4096; ++fd) {
    struct stat info{};
    if (fstat(fd, &info) != 0) continue;
    const char* kind = S_ISFIFO(info.st_mode) ? "pipe" : S_ISREG(info.st_mode) ? "file" : S_ISCHR(info.st_mode) ? "device" : "other";
    const char* access[] = {"read", "write", "both"};
    std::printf("%d %s %s %s\n", fd, kind, isatty(fd) != 0 ? "terminal" : "-", access[fcntl(fd, F_GETFL) & O_ACCMODE]);
  }
  return 0;
}

int signal_host_process(const Arguments& arguments) {
  const auto pid = static_cast<pid_t>(number(arguments));
  attempt("kill", kill(pid, 0));
  attempt("tgkill", syscall(SYS_tgkill, pid, pid, 0));
  attempt("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
  attempt("getpgid", getpgid(pid));
  attempt("sched_getscheduler", sched_getscheduler(pid));
  attempt("sched_getaffinity", syscall(SYS_sched_getaffinity, pid, 128, std::string(128, '\0').data()));
  attempt("prlimit64", syscall(SYS_prlimit64, pid, 7, nullptr, nullptr));
  attempt("ptrace", ptrace(PTRACE_SEIZE, pid, nullptr, nullptr));
  attempt("proc", open(("/proc/" + std::to_string(pid)).c_str(), O_RDONLY));
  return 0;
}

/// Names of the objects that two jobs must not share.
constexpr int kKey = 0x4711, kPort = 4711;
constexpr const char *kName = "/bailiff-mark", *kPath = "/tmp/bailiff-mark";

sockaddr_un abstract_name() {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path + 1, "mark", 4);
  return name;
}
constexpr socklen_t kAbstractSize = sizeof(sa_family_t) + 5;

sockaddr_un path_name() {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, "/tmp/bailiff-socket");
  return name;
}

sockaddr_in port_name() {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(kPort);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}

template <typename Name>
const sockaddr* general(const Name& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

/// Makes one of each kind, says so, and stays.
int hold_marks(const Arguments&) {
  const auto abstract = abstract_name(), path = path_name();
  const auto port = port_name();
  const int sockets[] = {socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0),
                         socket(AF_INET, SOCK_DGRAM, 0)};
  attempt("shm", shmget(kKey, 4096, IPC_CREAT | IPC_EXCL | 0666));
  attempt("msg", msgget(kKey, IPC_CREAT | IPC_EXCL | 0666));
  attempt("sem", semget(kKey, 1, IPC_CREAT | IPC_EXCL | 0666));
  attempt("posix_shm", shm_open(kName, O_CREAT | O_EXCL | O_RDWR, 0666));
  attempt("posix_mq", mq_open(kName, O_CREAT | O_EXCL | O_RDWR, 0666, nullptr));
  attempt("posix_sem", sem_open(kName, O_CREAT | O_EXCL, 0666, 1) == SEM_FAILED ? -1 : 0);
  attempt("file", open(kPath, O_CREAT | O_EXCL | O_RDWR, 0666));
  attempt("work_file", open("/work/mark", O_CREAT | O_EXCL | O_RDWR, 0666));
  attempt("abstract", bind(sockets[0], general(abstract), kAbstractSize) | listen(sockets[0], 1));
  attempt("path", bind(sockets[1], general(path), sizeof path) | listen(sockets[1], 1));
  attempt("tcp", bind(sockets[2], general(port), sizeof port) | listen(sockets[2], 1));
  attempt("udp", bind(sockets[3], general(port), sizeof port));
  std::printf("held\n");
  std::fflush(stdout);
  pause();
  return 0;
}

/// Looks for what hold_marks made.
int seek_marks(const Arguments&) {
  const auto abstract = abstract_name(), path = path_name();
  const auto port = port_name();
  attempt("shm", shmget(kKey, 0, 0));
  attempt("msg", msgget(kKey, 0));
  attempt("sem", semget(kKey, 0, 0));
  attempt("posix_shm", shm_open(kName, O_RDONLY, 0));
  attempt("posix_mq", mq_open(kName, O_RDONLY));
  attempt("posix_sem", sem_open(kName, 0) == SEM_FAILED ? -1 : 0);
  attempt("file", open(kPath, O_RDONLY));
  attempt("work_file", open("/work/mark", O_RDONLY));
  attempt("abstract", connect(socket(AF_UNIX, SOCK_STREAM, 0), general(abstract), kAbstractSize));
  attempt("path", connect(socket(AF_UNIX, SOCK_STREAM, 0), general(path), sizeof path));
  attempt("tcp", connect(socket(AF_INET, SOCK_STREAM, 0), general(port), sizeof port));
  attempt("udp", bind(socket(AF_INET, SOCK_DGRAM, 0), general(port), sizeof port) == 0 ? -(errno = ENOENT, 1) : 0);
  return 0;
}

/// Who it is, and what it may: for programs that a file's mode or capabilities should not have made more of.
int privileges(const Arguments&) {
  uid_t ids[6];
  getresuid(&ids[0], &ids[1], &ids[2]);
  getresgid(&ids[3], &ids[4], &ids[5]);
  for (const uid_t id : ids) std::printf("%u ", id);
  struct {
    unsigned version = 0x20080522;
    int pid = 0;
  } header;
  struct {
    unsigned effective, permitted, inheritable;
  } sets[2] = {};
  syscall(SYS_capget, &header, sets);
  std::printf("%x %x\n", sets[0].effective | sets[0].permitted | sets[0].inheritable, sets[1].effective | sets[1].permitted);
  return 0;
}

/// How many CPUs it may use, by each way of asking; and whether it can have all of the host's.
int cpus(const Arguments&) {
  cpu_set_t set, all;
  std::memset(&all, 0xff, sizeof all);
  const int wanted = sched_setaffinity(0, sizeof all, &all);
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::printf("%s affinity %d online %ld configured %ld\n", wanted == 0 ? "ok" : strerrorname_np(errno), CPU_COUNT(&set),
              sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF));
  for (int cpu = 0; cpu < 64; ++cpu)
    if (CPU_ISSET(cpu, &set)) std::printf("%d ", cpu);
  return 0;
}

/// Clocks that tell how long something has been running, in whole seconds.
int uptimes(const Arguments&) {
  for (const clockid_t clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME}) {
    timespec now{};
    clock_gettime(clock, &now);
    std::printf("%ld ", now.tv_sec);
  }
  struct sysinfo info{};
  sysinfo(&info);
  std::printf("%ld\n", info.uptime);
  return 0;
}

}  // namespace

const Victims& escape_victims() {
  static const Victims victims = {
      {"calls", calls},
      {"call_32", call_32},
      {"call_x32", [](const Arguments& a) { return static_cast<int>(syscall(static_cast<long>(0x40000000 + number(a)), 0, 0, 0)); }},
      {"rewrite_system_call", rewrite_system_call},
      {"push_terminal_input", push_terminal_input},
      {"find_files", find_files},
      {"find_writable", find_writable},
      {"list_nodes", list_nodes},
      {"describe_fds", describe_fds},
      {"signal_host_process", signal_host_process},
      {"hold_marks", hold_marks},
      {"seek_marks", seek_marks},
      {"privileges", privileges},
      {"cpus", cpus},
      {"uptimes", uptimes},
  };
  return victims;
}
