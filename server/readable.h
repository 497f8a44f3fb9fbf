#pragma once
// Readable: coroutines wait on a descriptor that they do not own.
#include <sys/epoll.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

#include "core/fd.h"

namespace bailiff::server {

/// Waits until a descriptor that belongs to somebody else is readable. An epoll set stands between, since asio would make the
/// descriptor itself non-blocking.
class Readable {
 public:
  Readable(boost::asio::any_io_executor executor, int fd) : descriptor_(std::move(executor)) {
    core::Fd set(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    if (set.valid() && ::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &event) == 0) descriptor_.assign(set.release());
  }
  /// False: it cannot be watched, or close() was called.
  boost::asio::awaitable<bool> wait() {
    const auto [error] = co_await descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                                         boost::asio::as_tuple(boost::asio::use_awaitable));
    co_return !error;
  }
  [[nodiscard]] boost::asio::any_io_executor executor() { return descriptor_.get_executor(); }
  void close() {
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

 private:
  boost::asio::posix::stream_descriptor descriptor_;
};

/// True when it becomes readable within the time.
inline boost::asio::awaitable<bool> becomes_readable(boost::asio::any_io_executor executor, int fd, std::chrono::milliseconds at_most) {
  using namespace boost::asio::experimental::awaitable_operators;
  Readable readable(executor, fd);
  boost::asio::steady_timer alarm(executor, at_most);
  const auto first = co_await (readable.wait() || alarm.async_wait(boost::asio::use_awaitable));
  co_return first.index() == 0 && std::get<0>(first);
}

}  // namespace bailiff::server
