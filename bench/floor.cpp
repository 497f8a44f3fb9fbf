#include "bench/floor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace bailiff::bench {
namespace {

constexpr const char* kControllers[] = {"memory", "pids", "cpu"};
constexpr unsigned long kFresh = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(90);
}

void put(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) < 0) die(path.c_str());
  close(fd);
}

void bind_read_only(const std::string& from, const std::string& to) {
  if (mkdir(to.c_str(), 0755) != 0 && errno != EEXIST) die(to.c_str());
  if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) die(from.c_str());
  if (mount(nullptr, to.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, nullptr) != 0) die(to.c_str());
}

/// A root with few mounts: what a clone has to copy.
void enter_small_root() {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) die("unshare");
  const std::string root = "/tmp";
  if (mount("floor", root.c_str(), "tmpfs", 0, "size=4m") != 0) die("tmpfs");
  for (const char* directory : {"/proc", "/tmp", "/cg"}) (void)mkdir((root + directory).c_str(), 0755);
  for (const char* directory : {"/usr", "/bin", "/lib", "/lib64"}) bind_read_only(directory, root + directory);
  for (const char* controller : kControllers) {
    const std::string place = root + "/cg/" + controller;
    (void)mkdir(place.c_str(), 0755);
    if (mount((std::string("/sys/fs/cgroup/") + controller).c_str(), place.c_str(), nullptr, MS_BIND, nullptr) != 0) die("bind cgroup");
  }
  if (mount("proc", (root + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) die("proc");
  if (chdir(root.c_str()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
    die("pivot_root");
}

[[noreturn]] void exec_true() {
  char* const argv[] = {const_cast<char*>("true"), nullptr};
  char* const environment[] = {nullptr};
  execve("/bin/true", argv, environment);
  _exit(127);
}

[[noreturn]] void init_process(int mapped) {
  char byte = 0;
  if (read(mapped, &byte, 1) != 1) _exit(1);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) _exit(2);
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m") != 0) _exit(3);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const pid_t program = vfork();
  if (program == 0) exec_true();
  int status = 0, result = 1;
  for (pid_t ended = 0; (ended = wait(&status)) > 0;)
    if (ended == program) result = status != 0;
  _exit(result);
}

}  // namespace

void run_bare() {
  const pid_t child = vfork();
  if (child == 0) exec_true();
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) die("bare");
}

Floor::Floor(unsigned worker, Groups groups)
    : name_("/bailiff-floor." + std::to_string(getpid()) + "." + std::to_string(worker)), groups_(groups) {
  enter_small_root();
  if (groups_ != Groups::born) return;
  make_groups();
  for (const char* controller : kControllers) put(std::string("/cg/") + controller + name_ + "/cgroup.procs", "0");
}

Floor::~Floor() {
  if (groups_ != Groups::born) return;
  for (const char* controller : kControllers) put(std::string("/cg/") + controller + "/cgroup.procs", "0");
  remove_groups();
}

void Floor::make_groups() const {
  for (const char* controller : kControllers)
    if (mkdir((std::string("/cg/") + controller + name_).c_str(), 0755) != 0) die("mkdir cgroup");
  put("/cg/memory" + name_ + "/memory.limit_in_bytes", "67108864");
  put("/cg/pids" + name_ + "/pids.max", "32");
  put("/cg/cpu" + name_ + "/cpu.cfs_quota_us", "100000");
}

void Floor::remove_groups() const {
  for (const char* controller : kControllers)
    while (rmdir((std::string("/cg/") + controller + name_).c_str()) != 0 && errno == EBUSY) usleep(50);
}

void Floor::run() const {
  if (groups_ == Groups::fresh) make_groups();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) die("pipe");
  clone_args args{};
  args.flags = kFresh;
  args.exit_signal = SIGCHLD;
  const auto init = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (init < 0) die("clone3");
  if (init == 0) {
    close(ends[1]);
    init_process(ends[0]);
  }
  const std::string proc = "/proc/" + std::to_string(init);
  put(proc + "/uid_map", "0 0 1");
  put(proc + "/setgroups", "deny");
  put(proc + "/gid_map", "0 0 1");
  if (groups_ == Groups::fresh)
    for (const char* controller : kControllers) put(std::string("/cg/") + controller + name_ + "/cgroup.procs", std::to_string(init));
  if (write(ends[1], "m", 1) != 1) die("map");
  close(ends[0]);
  close(ends[1]);
  int status = 0;
  if (waitpid(init, &status, 0) != init || status != 0) die("job");
  if (groups_ == Groups::fresh) remove_groups();
}

}  // namespace bailiff::bench
