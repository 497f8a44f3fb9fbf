// Files: too large, too many, too deep, oddly named; and things at the paths where somebody will look for results.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>

#include "tests/sandbox/victims.h"

namespace {

/// COUNT empty files in DIRECTORY; how many it made and why it stopped.
int empty_files(const Arguments& arguments) {
  if (chdir(arguments.at(0).c_str()) != 0) return 1;
  std::size_t made = 0;
  for (; made < number(arguments, 1); ++made) {
    const int fd = open(("e" + std::to_string(made)).c_str(), O_CREAT | O_WRONLY, 0600);
    if (fd < 0) break;
    close(fd);
  }
  std::printf("%zu %s\n", made, made < number(arguments, 1) ? strerrorname_np(errno) : "all");
  return 0;
}

/// A directory in a directory, DEPTH times; how deep it came.
int deep_tree(const Arguments& arguments) {
  std::size_t depth = 0;
  for (; depth < number(arguments) && mkdir("d", 0700) == 0 && chdir("d") == 0; ++depth) {}
  close(open("leaf", O_CREAT | O_WRONLY, 0600));
  std::printf("%zu\n", depth);
  return 0;
}

/// A file with a hole of MIB, nothing else; how much of it the kernel says is there.
int sparse_file(const Arguments& arguments) {
  const int fd = open(arguments.at(0).c_str(), O_CREAT | O_RDWR, 0644);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(number(arguments, 1) * kMiB)) != 0) {
    std::printf("%s\n", strerrorname_np(errno));
    return 1;
  }
  struct stat info{};
  fstat(fd, &info);
  std::printf("%ld blocks\n", static_cast<long>(info.st_blocks));
  return 0;
}

/// Names of 255 bytes, of control characters, of bytes that are no UTF-8, and such as mean something to a shell or a log.
int odd_names(const Arguments&) {
  (void)!mkdir("out", 0755);
  const std::string names[] = {std::string(255, '\xff'),
                               std::string(255, 'n'),
                               "\n",
                               "a\nlevel=error event=\"forged\"",
                               "\x1b[2J\x1b]0;x\x07",
                               "\xc3\x28\xa0\xa1\xed\xa0\x80",
                               "...",
                               "-rf",
                               " ",
                               "%s%n",
                               "\"},{\"verdict\":\"ok\"",
                               "C:\\x",
                               "\r\n\r\n"};
  std::size_t made = 0;
  for (const auto& name : names) {
    const int fd = open(("out/" + name).c_str(), O_CREAT | O_WRONLY, 0644);
    made += fd >= 0 && write(fd, "x", 1) == 1 ? 1 : 0;
    close(fd);
  }
  std::printf("%zu %d\n", made, open(std::string(256, 'n').c_str(), O_CREAT | O_WRONLY, 0644));
  return 0;
}

/// How many descriptors it may have, also when it tries to raise the number.
int open_files(const Arguments&) {
  const rlimit more{65536, 65536};
  attempt("raise", setrlimit(RLIMIT_NOFILE, &more));
  int opened = 3;
  while (open("/dev/null", O_RDONLY) >= 0) ++opened;
  std::printf("%d %s\n", opened, strerrorname_np(errno));
  return 0;
}

/// Many long paths: each directory of a deep path has many directories in it.
int long_paths(const Arguments& arguments) {
  (void)!mkdir("out", 0755);
  if (chdir("out") != 0) return 1;
  for (int depth = 0; depth < 14; ++depth) {
    const std::string name(255, static_cast<char>('a' + depth));
    if (mkdir(name.c_str(), 0755) != 0 || chdir(name.c_str()) != 0) return 1;
  }
  for (std::size_t i = 0; i < number(arguments); ++i)
    if (mkdir((std::string(200, 'z') + std::to_string(i)).c_str(), 0755) != 0) break;
  return 0;
}

/// One of the things that may stand where a result is expected, at PATH.
int plant(const Arguments& arguments) {
  const std::string &kind = arguments.at(0), &path = arguments.at(1);
  if (kind == "directory") return mkdir(path.c_str(), 0755);
  if (kind == "fifo") return mkfifo(path.c_str(), 0666);
  if (kind == "symlink") return symlink(arguments.at(2).c_str(), path.c_str());
  if (kind == "hardlink") return link(arguments.at(2).c_str(), path.c_str()) == 0 ? 0 : errno;
  if (kind == "device") return mknod(path.c_str(), S_IFCHR | 0666, 0x101) == 0 ? 0 : errno;
  if (kind == "unreadable") return open(path.c_str(), O_CREAT | O_WRONLY, 0) < 0;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  return bind(socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<sockaddr*>(&name), sizeof name);
}

/// Ends while a daemon of its goes on exchanging what stands at "out/a".
int swap_names(const Arguments&) {
  if (mkdir("out", 0755) != 0 || symlink("/etc/passwd", "link") != 0 || mkfifo("fifo", 0666) != 0) return 1;
  close(open("file", O_CREAT | O_WRONLY, 0644));
  int ready[2];
  if (pipe(ready) != 0) return 1;
  if (fork() == 0) {
    setsid();
    if (link("file", "out/a") == 0) (void)!write(ready[1], "x", 1);
    while (true)
      for (const char* name : {"link", "fifo", "file"})
        if (renameat2(AT_FDCWD, name, AT_FDCWD, "out/a", RENAME_EXCHANGE) != 0) _exit(1);
  }
  char byte = 0;
  return read(ready[0], &byte, 1) == 1 ? 0 : 1;
}

/// Its core dump limit cannot be moved, whatever it is told; then it crashes.
int dump_core(const Arguments&) {
  for (const rlim_t size : {RLIM_INFINITY, static_cast<rlim_t>(0)}) {
    const rlimit wanted{size, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_CORE, &wanted);
    rlimit now{};
    getrlimit(RLIMIT_CORE, &now);
    std::printf("%lu %lu\n", static_cast<unsigned long>(now.rlim_cur), static_cast<unsigned long>(now.rlim_max));
  }
  std::fflush(stdout);
  std::signal(SIGSEGV, SIG_DFL);
  return raise(SIGSEGV);
}

}  // namespace

const Victims& file_victims() {
  static const Victims victims = {
      {"empty_files", empty_files},
      {"deep_tree", deep_tree},
      {"sparse_file", sparse_file},
      {"odd_names", odd_names},
      {"open_files", open_files},
      {"long_paths", long_paths},
      {"plant", plant},
      {"swap_names", swap_names},
      {"dump_core", dump_core},
  };
  return victims;
}
