#include "sandbox/cgroup_freezer.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr char kThawed[] = "THAWED";

volatile std::sig_atomic_t frozen_state_fd = -1;  // what the signal handler thaws

void thaw_and_exit(int) {
  (void)!write(frozen_state_fd, kThawed, sizeof kThawed - 1);
  _exit(1);
}

core::Status set_death_signal(int signal) {
  if (prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0) return core::errno_error("set the death signal");
  return {};
}

}  // namespace

core::Status FreezerV1::freeze(const std::string& group) {
  if (frozen()) return {};
  auto state = open_kernel_file(group + "/freezer.state", O_WRONLY);
  if (!state) return std::unexpected(state.error());
  state_ = std::move(*state);
  frozen_state_fd = state_.get();
  if (std::signal(SIGTERM, thaw_and_exit) == SIG_ERR) return core::errno_error("signal");
  if (auto armed = set_death_signal(SIGTERM); !armed) return armed;
  return write_kernel_file(state_.get(), "FROZEN");
}

core::Status FreezerV1::thaw() {
  if (!frozen()) return {};
  if (auto thawed = write_kernel_file(state_.get(), kThawed); !thawed) return thawed;
  if (auto armed = set_death_signal(SIGKILL); !armed) return armed;
  state_.reset();
  return {};
}

void thaw_left_v1(const std::string& group) { (void)write_kernel_file(group + "/freezer.state", kThawed); }

core::Status set_frozen_v2(const std::string& group, bool frozen) {
  return write_kernel_file(group + "/cgroup.freeze", frozen ? "1" : "0");
}

}  // namespace bailiff::sandbox
