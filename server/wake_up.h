#pragma once
// WakeUp: coroutines of one thread wait on it until another coroutine says that what they wait for may have come.
// It holds no state, as a condition variable: whoever waits checks its condition before and after.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace bailiff::server {

class WakeUp {
 public:
  explicit WakeUp(boost::asio::any_io_executor executor) : timer_(std::move(executor), boost::asio::steady_timer::time_point::max()) {}

  boost::asio::awaitable<void> wait() { co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable)); }
  /// For one waiter only: also returns when `deadline` has come.
  boost::asio::awaitable<void> wait_until(boost::asio::steady_timer::time_point deadline) {
    timer_.expires_at(deadline);
    co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  void one() { timer_.cancel_one(); }
  void all() { timer_.cancel(); }

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace bailiff::server
