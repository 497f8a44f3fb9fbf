#include "server/systemd_notify.h"

#include <systemd/sd-daemon.h>

#include <cstdint>

namespace bailiff::server {

// An sd_notify that fails is not ours to mend: the manager sees that nothing came, and acts.

void SystemdNotify::ready() {
  ::sd_notify(0, "READY=1");
  std::uint64_t longest_us = 0;
  if (::sd_watchdog_enabled(0, &longest_us) <= 0) return;
  interval_ = std::chrono::microseconds(longest_us / 2);
  tell_watchdog();
}

void SystemdNotify::stopping() { ::sd_notify(0, "STOPPING=1"); }

void SystemdNotify::tell_watchdog() {
  ::sd_notify(0, "WATCHDOG=1");
  timer_.expires_after(interval_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tell_watchdog();
  });
}

}  // namespace bailiff::server
