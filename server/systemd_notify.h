#pragma once
// What systemd is told of bailiffd (sd_notify(3)): ready, stopping, and, where the unit has WatchdogSec, that the io loop still turns.
// Nothing happens where no service manager listens. io thread only.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

namespace bailiff::server {

class SystemdNotify {
 public:
  explicit SystemdNotify(boost::asio::io_context& io) : timer_(io) {}

  /// Requests are served from now on. Until stop(), the watchdog is told twice within its time.
  void ready();
  /// The end begins; it may take as long as jobs may.
  void stopping();
  /// Nothing waits for the loop afterwards.
  void stop() { timer_.cancel(); }

 private:
  void tell_watchdog();

  boost::asio::steady_timer timer_;
  std::chrono::microseconds interval_{0};  // 0: no watchdog
};

}  // namespace bailiff::server
