#pragma once
// Signals that end us, read from a descriptor instead, so that what we started can be ended in order.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/fd.h"

namespace bailiff::cli {

/// While it lives, SIGINT and SIGTERM are read from fd(), which is non-blocking, and do not end us. Before any thread exists.
class InterruptWatch {
 public:
  InterruptWatch() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before_);
    fd_ = core::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;
  ~InterruptWatch() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes the signals that wait, so that they do not end us later. Whether there was one.
  bool take() const {
    signalfd_siginfo info;
    bool any = false;
    while (::read(fd_.get(), &info, sizeof info) > 0) any = true;
    return any;
  }

 private:
  sigset_t before_{};
  core::Fd fd_;
};

}  // namespace bailiff::cli
