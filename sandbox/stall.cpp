#include "sandbox/stall.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "sandbox/socket.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kPrepareTime(30), kDeathTime(20);

}  // namespace

Stall::~Stall() { (void)clear(); }

core::Status Stall::prepare(const std::string& image_root) {
  if (state_ != State::empty) {
    if (image_root == image_root_ && state_ != State::discarded) return {};
    if (auto cleared = clear(); !cleared) return cleared;
  }
  auto begun = begin(image_root);
  if (!begun) (void)clear();
  return begun;
}

core::Status Stall::begin(const std::string& image_root) {
  if (!spawner_ || image_root != image_root_) {
    spawner_.reset();
    auto spawner = Spawner::start({image_root, id_base_, &filter_});
    if (!spawner) return std::unexpected(spawner.error());
    spawner_ = std::move(*spawner);
    image_root_ = image_root;
    if (auto adopted = station_->adopt_spawner(spawner_->pid()); !adopted) {
      spawner_.reset();
      return adopted;
    }
  }
  if (auto made = station_->prepare(); !made) return made;
  auto sockets = socket_pair();
  if (!sockets) return std::unexpected(sockets.error());
  sandbox_.control = std::move(sockets->first);
  if (auto asked = spawner_->request_init(sockets->second, station_->clone_into(), station_->attach_file()); !asked) {
    spawner_.reset();
    return asked;
  }
  state_ = State::asked;
  return {};
}

core::Result<Sandbox*> Stall::ready(const std::string& image_root) {
  if (auto prepared = prepare(image_root); !prepared) return std::unexpected(prepared.error());
  if (state_ == State::asked) {
    if (auto done = await_prepared(); !done) {
      (void)clear();
      return std::unexpected(done.error());
    }
    state_ = State::ready;
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
  if (!wait_readable(sandbox_.control.get(), kPrepareTime)) return core::error(core::ErrorKind::internal, "init does not get ready");
  InitReport report{};
  if (read(sandbox_.control.get(), &report, sizeof report) != sizeof report)
    return core::error(core::ErrorKind::internal, "init died while it prepared the sandbox");
  if (report.kind != InitReport::Kind::prepared) {
    errno = report.error;
    return core::errno_error(std::string("sandbox set-up: ") + name(report.step));
  }
  return {};
}

void Stall::discard() {
  if (sandbox_.init >= 0) (void)syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), SIGKILL, nullptr, 0);
  state_ = State::discarded;
}

bool Stall::kill_and_reap() {
  if (sandbox_.init < 0) return true;
  (void)syscall(SYS_pidfd_send_signal, sandbox_.pidfd.get(), SIGKILL, nullptr, 0);
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
