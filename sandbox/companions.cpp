#include "sandbox/companions.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "sandbox/socket.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kEndTime(20);

}  // namespace

core::Status Companions::start(const std::function<void(core::Fd leash)>& serve) {
  reap_ended();
  if (running_.size() >= at_most_) return core::error(core::ErrorKind::unavailable, "too many at once beside one program");
  auto leash = socket_pair();
  if (!leash) return std::unexpected(leash.error());
  const pid_t pid = fork();
  if (pid < 0) return core::errno_error("fork");
  if (pid == 0) {
    leash->first.reset();
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0) serve(std::move(leash->second));
    _exit(1);
  }
  core::Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {  // nothing would bound the wait for its end
    auto failed = core::errno_error("pidfd_open");
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, nullptr, __WALL);
    return failed;
  }
  running_.push_back({pid, std::move(leash->first), std::move(pidfd)});
  return {};
}

void Companions::reap_ended() {
  std::erase_if(running_, [](const Companion& companion) { return waitpid(companion.pid, nullptr, WNOHANG | __WALL) != 0; });
}

core::Status Companions::end() {
  for (auto& companion : running_) companion.leash.reset();
  core::Status status;
  for (auto& companion : running_) {
    if (!wait_readable(companion.pidfd.get(), kEndTime)) {
      (void)kill(companion.pid, SIGKILL);
      status = core::error(core::ErrorKind::internal, "what served a caller beside the program did not end in time");
    }
    (void)waitpid(companion.pid, nullptr, __WALL);
  }
  running_.clear();
  return status;
}

}  // namespace bailiff::sandbox
