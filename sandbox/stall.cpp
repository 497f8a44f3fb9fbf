#include "sandbox/stall.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <tuple>

#include "sandbox/image_mounts.h"
#include "sandbox/kernel_file.h"
#include "sandbox/socket.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kPrepareTime(30), kDeathTime(20);

/// New caps for a tmpfs in another mount namespace: a reconfiguration of the file system, not of the mount.
core::Status resize_tmpfs(const std::string& path, const core::Limits& limits) {
  const core::Fd context(fspick(AT_FDCWD, path.c_str(), FSPICK_CLOEXEC));
  if (!context.valid()) return core::errno_error("fspick " + path);
  const std::string bytes = std::to_string(limits.workspace_bytes), inodes = std::to_string(limits.workspace_inodes);
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "size", bytes.c_str(), 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_SET_STRING, "nr_inodes", inodes.c_str(), 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0) != 0)
    return core::errno_error("resize " + path);
  return {};
}

}  // namespace

Stall::~Stall() { (void)clear(); }

core::Status Stall::prepare(const std::string& image_root, const core::Limits& limits) {
  if (state_ != State::empty) {
    if (image_root == image_root_ && state_ != State::discarded) return {};
    if (auto cleared = clear(); !cleared) return cleared;
  }
  auto begun = begin(image_root, limits);
  if (!begun) (void)clear();
  return begun;
}

core::Status Stall::begin(const std::string& image_root, const core::Limits& limits) {
  if (!spawner_ || image_root != image_root_) {
    spawner_.reset();
    auto spawner = Spawner::start({image_root, id_base_, &filter_, clock_start_s_});
    if (!spawner) return std::unexpected(spawner.error());
    spawner_ = std::move(*spawner);
    image_root_ = image_root;
    if (auto adopted = station_->adopt_spawner(spawner_->pid(), image_root); !adopted) {
      spawner_.reset();
      return adopted;
    }
  }
  if (auto made = station_->prepare(); !made) return made;
  if (auto made = make_ends(); !made) return made;
  sandbox_.limits = limits;
  if (auto asked = spawner_->request_init(limits, sandbox_.theirs, station_->clone_into()); !asked) {
    spawner_.reset();
    return asked;
  }
  sandbox_.theirs.control.reset();
  sandbox_.theirs.program.reset();
  state_ = State::asked;
  return {};
}

core::Status Stall::make_ends() {
  for (auto [ours, theirs] : {std::pair{&sandbox_.control, &sandbox_.theirs.control}, {&sandbox_.program, &sandbox_.theirs.program}}) {
    auto sockets = socket_pair();
    if (!sockets) return std::unexpected(sockets.error());
    std::tie(*ours, *theirs) = std::move(*sockets);
  }
  for (auto [ours, theirs] :
       {std::pair{&sandbox_.stdout_pipe, &sandbox_.theirs.stdout_pipe}, {&sandbox_.stderr_pipe, &sandbox_.theirs.stderr_pipe}}) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return core::errno_error("pipe");
    *ours = core::Fd(ends[0]);
    *theirs = core::Fd(ends[1]);
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return core::errno_error("fcntl");
    // The program's own, so that it can open /dev/stdout and /dev/stderr.
    if (fchown(ends[1], id_base_ + 1, id_base_ + 1) != 0) return core::errno_error("fchown");
  }
  sandbox_.timer = core::Fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!sandbox_.timer.valid()) return core::errno_error("timerfd_create");
  return {};
}

core::Result<Sandbox*> Stall::ready(const std::string& image_root, const core::Limits& limits) {
  if (auto prepared = prepare(image_root, limits); !prepared) return std::unexpected(prepared.error());
  if (state_ == State::asked) {
    auto done = await_prepared();
    if (done) done = station_->begin(cgroup_limits(sandbox_.limits));
    if (!done) {
      (void)clear();
      return std::unexpected(done.error());
    }
    state_ = State::ready;
  }
  if (auto adapted = adapt(limits); !adapted) {
    (void)clear();  // some of them it may have
    return std::unexpected(adapted.error());
  }
  return &sandbox_;
}

core::Status Stall::await_prepared() {
  auto pid = spawner_->take_init();
  if (!pid) {
    spawner_.reset();
    return std::unexpected(pid.error());
  }
  sandbox_.init = *pid;
  sandbox_.pidfd = core::Fd(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
  if (!sandbox_.pidfd.valid()) return core::errno_error("pidfd_open");
  if (!wait_readable(sandbox_.program.get(), kPrepareTime)) return core::error(core::ErrorKind::internal, "the sandbox does not get ready");
  InitReport report{};
  if (read(sandbox_.program.get(), &report, sizeof report) != sizeof report)
    return core::error(core::ErrorKind::internal, "the sandbox died while it was prepared");
  if (report.kind != InitReport::Kind::prepared) {
    errno = report.error;
    return core::errno_error(std::string("sandbox set-up: ") + name(report.step));
  }
  sandbox_.clock_offset_ns = report.at_ns;
  if (!exec_enters_time_namespace()) return {};
  auto offsets = open_kernel_file("/proc/" + std::to_string(sandbox_.init) + "/timens_offsets", O_WRONLY);
  if (!offsets) return std::unexpected(offsets.error());
  sandbox_.clock_offsets = std::move(*offsets);
  return {};
}

/// Gives a prepared sandbox the limits of the request where they are not those that were foreseen.
core::Status Stall::adapt(const core::Limits& limits) {
  auto& now = sandbox_.limits;
  if (limits == now) return {};
  if (limits.workspace_bytes != now.workspace_bytes || limits.workspace_inodes != now.workspace_inodes)
    for (const char* path : {"/work", "/tmp", "/dev/shm"})
      if (auto resized = resize_tmpfs("/proc/" + std::to_string(sandbox_.init) + "/root" + path, limits); !resized) return resized;
  if (cgroup_limits(limits) != cgroup_limits(now))
    if (auto set = station_->begin(cgroup_limits(limits)); !set) return set;
  now = limits;
  return {};
}

void Stall::discard() {
  if (sandbox_.init >= 0) (void)syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), SIGKILL, nullptr, 0);
  state_ = State::discarded;
}

core::Status Stall::leave_gone_image() {
  if (!spawner_ || is_image_root(image_root_)) return {};
  auto cleared = clear();
  spawner_.reset();
  return cleared;
}

bool Stall::kill_and_reap() {
  if (sandbox_.init < 0) return true;
  (void)syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), SIGKILL, nullptr, 0);
  if (!station_->release()) return false;
  if (!wait_readable(sandbox_.pidfd.get(), kDeathTime)) return false;
  (void)waitpid(sandbox_.init, nullptr, __WALL);
  sandbox_.init = -1;
  return true;
}

core::Status Stall::clear() {
  if (state_ == State::asked && spawner_) {  // it is on its way; it must be known before it can be ended
    auto pid = spawner_->take_init();
    if (pid) {
      sandbox_.init = *pid;
      sandbox_.pidfd = core::Fd(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
    }
  }
  state_ = State::empty;
  if (!kill_and_reap()) return core::error(core::ErrorKind::internal, "a sandbox does not die");
  sandbox_ = {};
  return station_->end();
}

}  // namespace bailiff::sandbox
