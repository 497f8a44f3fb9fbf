#include "sandbox/spawner.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "sandbox/descriptors.h"
#include "sandbox/init.h"
#include "sandbox/kernel_file.h"
#include "sandbox/socket.h"

namespace bailiff::sandbox {

const std::uint64_t kCloneFlags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

namespace {

constexpr std::chrono::seconds kAnswerTime(30);
constexpr const char* kOomScore = "1000";  // the kernel's OOM killer takes the sandbox's processes before ours

struct Answer {
  std::int32_t pid;    // -1: error says why
  std::int32_t error;
  char what[128];
};

class SpawnerProcess {
 public:
  SpawnerProcess(const SpawnerConfig& config, core::Fd socket) : config_(config), socket_(std::move(socket)) {}

  [[noreturn]] void run() {
    if (auto entered = enter_image(); !entered) {
      answer(-1, entered.error());
      _exit(1);
    }
    answer(getpid(), {});
    while (true) {
      auto message = receive_message(socket_.get());
      if (!message || message->bytes.empty()) _exit(0);
      auto pid = make_init(*message);
      answer(pid.value_or(-1), pid ? core::Error{} : pid.error());
    }
  }

 private:
  void answer(pid_t pid, const core::Error& error) {
    Answer out{pid, error.sys_errno, {}};
    std::strncpy(out.what, error.what.c_str(), sizeof out.what - 1);
    if (!send_message(socket_.get(), {reinterpret_cast<const char*>(&out), sizeof out})) _exit(0);
  }

  core::Status enter_image() {
    if (auto reset = reset_inherited(); !reset) return reset;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return core::errno_error("prctl");
    const core::Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = 0; fd < 3; ++fd)
      if (dup2(null.get(), fd) < 0) return core::errno_error("dup2 /dev/null");
    if (unshare(CLONE_NEWNS) != 0) return core::errno_error("unshare mount namespace");
    const std::string& root = config_.image_root;
    // A whole /proc must be visible here, or the kernel refuses the sandbox its own. The sandbox's covers it.
    if (mount("proc", (root + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
      return core::errno_error("mount proc");
    // What the launcher does to its mounts later is not for sandboxes to see.
    if (mount(nullptr, root.c_str(), nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return core::errno_error("make mounts private");
    if (chdir(root.c_str()) != 0) return core::errno_error("chdir to the image");
    if (syscall(SYS_pivot_root, ".", ".") != 0) return core::errno_error("pivot_root");
    if (umount2(".", MNT_DETACH) != 0) return core::errno_error("umount the old root");
    if (chdir("/") != 0) return core::errno_error("chdir /");
    // Only what run() uses stays open: no descriptor to the host's files can reach a sandbox.
    if (!close_all_but({0, 1, 2, socket_.get()})) return core::errno_error("close_range");
    return {};
  }

  core::Result<pid_t> make_init(Message& message) {
    // Message: the limits + fds {control, program, stdout, stderr, [clone_into]}.
    core::Limits limits;
    if (message.bytes.size() != sizeof limits || message.fds.size() < kInitEnds || message.fds.size() > kInitEnds + 1)
      return core::error(core::ErrorKind::internal, "malformed spawn message");
    std::memcpy(&limits, message.bytes.data(), sizeof limits);
    const core::Fd* clone_into = message.fds.size() > kInitEnds ? &message.fds.back() : nullptr;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return core::errno_error("pipe");
    core::Fd mapped(ends[0]), map_done(ends[1]);
    clone_args args{};
    // CLONE_PARENT: the slot supervises and reaps the init, not we.
    args.flags = kCloneFlags | CLONE_PARENT | (clone_into != nullptr ? CLONE_INTO_CGROUP : 0U);
    args.cgroup = clone_into != nullptr ? static_cast<std::uint64_t>(clone_into->get()) : 0;
    const auto init = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
    if (init == 0) {
      map_done.reset();
      auto& fds = message.fds;
      run_init({limits,
                {std::move(fds[0]), std::move(fds[1]), std::move(fds[2]), std::move(fds[3])},
                std::move(mapped),
                *config_.filter,
                config_.clock_start_s});
    }
    if (init < 0) return core::errno_error("clone3");
    if (auto prepared = prepare_init(init); !prepared) {
      (void)kill(init, SIGKILL);
      return std::unexpected(prepared.error());
    }
    if (write(map_done.get(), "m", 1) != 1) return core::errno_error("release init");
    return init;
  }

  core::Status prepare_init(pid_t init) const {
    const std::string proc = "/proc/" + std::to_string(init);
    const std::string program = std::to_string(kProgramId);
    const std::string map = "0 " + std::to_string(config_.id_base) + " 1\n" + program + " " + std::to_string(config_.id_base + 1) + " 1\n";
    for (const char* file : {"/uid_map", "/gid_map"})
      if (auto written = write_kernel_file(proc + file, map); !written) return written;
    return write_kernel_file(proc + "/oom_score_adj", kOomScore);
  }

  SpawnerConfig config_;
  core::Fd socket_;
};

core::Result<pid_t> take_answer(int socket) {
  if (!wait_readable(socket, kAnswerTime)) return core::error(core::ErrorKind::internal, "the spawner does not answer");
  auto message = receive_message(socket);
  if (!message) return std::unexpected(message.error());
  Answer answer{};
  if (message->bytes.size() != sizeof answer) return core::error(core::ErrorKind::internal, "the spawner is gone");
  std::memcpy(&answer, message->bytes.data(), sizeof answer);
  answer.what[sizeof answer.what - 1] = '\0';
  if (answer.pid < 0) return std::unexpected(core::Error{core::ErrorKind::internal, std::string("spawner: ") + answer.what, answer.error});
  return answer.pid;
}

}  // namespace

core::Status reset_inherited() {
  for (int signal = 1; signal < NSIG; ++signal) (void)std::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return core::errno_error("sigprocmask");
  if (setpriority(PRIO_PROCESS, 0, 0) != 0) return core::errno_error("setpriority");
  return {};
}

core::Result<Spawner> Spawner::start(const SpawnerConfig& config) {
  auto sockets = socket_pair();
  if (!sockets) return std::unexpected(sockets.error());
  const pid_t pid = fork();
  if (pid < 0) return core::errno_error("fork");
  if (pid == 0) {
    sockets->first.reset();
    SpawnerProcess(config, std::move(sockets->second)).run();
  }
  Spawner spawner(pid, std::move(sockets->first));
  sockets->second.reset();
  if (auto entered = take_answer(spawner.socket_.get()); !entered) return std::unexpected(entered.error());
  return spawner;
}

Spawner& Spawner::operator=(Spawner&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(socket_, other.socket_);
  return *this;
}

Spawner::~Spawner() {
  if (!socket_.valid()) return;  // moved from
  (void)kill(pid_, SIGKILL);
  (void)waitpid(pid_, nullptr, 0);
}

core::Status Spawner::request_init(const core::Limits& limits, const InitEnds& ends, int clone_into) {
  std::vector<int> fds = {ends.control.get(), ends.program.get(), ends.stdout_pipe.get(), ends.stderr_pipe.get()};
  if (clone_into >= 0) fds.push_back(clone_into);
  return send_message(socket_.get(), {reinterpret_cast<const char*>(&limits), sizeof limits}, fds);
}

core::Result<pid_t> Spawner::take_init() { return take_answer(socket_.get()); }

}  // namespace bailiff::sandbox
