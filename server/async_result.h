#pragma once
// co_await for work that answers once, by a callback, from another thread: the coroutine goes on where it was, on its own executor.
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <utility>

namespace bailiff::server {

/// `start` is given a copyable callback that takes one T, and must see to it that it is called exactly once.
template <class T, class Start>
boost::asio::awaitable<T> from_callback(Start start) {
  namespace asio = boost::asio;
  auto initiate = [](auto handler, Start begin) {
    using Given = decltype(handler);
    auto shared = std::make_shared<Given>(std::move(handler));
    auto work = asio::make_work_guard(asio::get_associated_executor(*shared));
    begin([shared, work](T value) mutable {
      const auto executor = work.get_executor();
      asio::post(executor, [handler = std::move(shared), answer = std::move(value), kept = std::move(work)]() mutable {
        (*handler)(std::move(answer));
      });
    });
  };
  // Not in one expression with co_await: g++ 12 destroys temporaries with captures twice there.
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void(T)>(std::move(initiate), asio::use_awaitable, std::move(start));
  co_return co_await std::move(pending);
}

/// Runs `function` on one of `threads` and gives its result. It must not throw.
template <class Function>
auto offload(boost::asio::thread_pool& threads, Function function) -> boost::asio::awaitable<decltype(function())> {
  using T = decltype(function());
  auto start = [&threads, call = std::move(function)](auto done) mutable {
    boost::asio::post(threads, [call = std::move(call), done = std::move(done)]() mutable { done(call()); });
  };
  return from_callback<T>(std::move(start));
}

}  // namespace bailiff::server
