#pragma once
// The HTTP/1.1 listener: accepts, bounds and drains connections; each is one coroutine on the io thread (http_session.h).
// JSON of large requests and answers is worked on in a thread of its own, so that the loop, which also schedules, never stalls.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"
#include "server/api_context.h"
#include "server/http_bounds.h"
#include "server/tls_front.h"

namespace bailiff::server {

class HttpServer {
 public:
  /// `io` is run by one thread. What `context` refers to must outlive this object and the running of `io`.
  HttpServer(boost::asio::io_context& io, ApiContext context, HttpBounds bounds);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  /// Binds (numeric address; port 0 picks a free one), starts to accept, and tells the port. With `tls`, which outlives the running of
  /// `io`, it speaks HTTPS and nothing else.
  core::Result<std::uint16_t> listen(const std::string& address, std::uint16_t port, const TlsFront* tls = nullptr);
  /// No new connections; idle ones are closed, the others after their present answer. Idempotent.
  void stop_accepting();
  /// stop_accepting(), then waits until every connection ended. At `deadline` long polls are answered as things stand and, shortly
  /// after, what is left is cut.
  boost::asio::awaitable<void> drain(std::chrono::steady_clock::time_point deadline);
  /// Open connections.
  [[nodiscard]] std::size_t connections() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace bailiff::server
