#pragma once
// One HTTP/1.1 connection as one coroutine: read a request within the bounds, ask the API, write the answer, again.
//
// Framing is stricter than the parser's: a request whose length two readers could understand differently (both length fields, a repeated
// one, a transfer coding other than `chunked`) is 400 and the end of the connection, so that no proxy before us can be fooled.
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/api.h"
#include "server/http_bounds.h"
#include "server/http_message.h"
#include "server/http_websocket.h"

namespace bailiff::server {

/// What the sessions of one server have in common.
struct SessionContext {
  Api& api;
  const HttpBounds& bounds;
  std::uint64_t bodies_bytes = 0;  // of all requests received and not yet answered
  bool draining = false;           // no further request on any connection
  bool hurried = false;            // nobody waits for anything any more
};

class Session final : public Client {
 public:
  /// `peer`: as in Request.
  Session(HttpStream::socket_type socket, std::string peer, SessionContext& context);
  /// Until the connection ends. Nothing escapes it.
  boost::asio::awaitable<void> run();
  /// The answer when there are too many connections, then the end.
  boost::asio::awaitable<void> run_refusal();
  boost::asio::awaitable<void> gone() override;
  void when_gone(std::function<void()> call) override;

  /// The server began to drain: an idle connection ends now.
  void on_drain();
  /// Long polls are answered as things stand.
  void hurry();
  /// Whatever it is doing, it fails now.
  void cut();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class After { keep, close, linger };
  class Sink;

  /// True when the first bytes of a request are there.
  boost::asio::awaitable<bool> next_request(bool first);
  boost::asio::awaitable<After> one_request();
  boost::asio::awaitable<After> upgrade(const Parser& parser, const Request& request, const WebSocketHandler& handler);
  /// The body of a request whose header was read, into a file. The problem where it is refused.
  boost::asio::awaitable<std::optional<Problem>> receive_file(Parser&& header, const core::Fd& file, std::uint64_t most);
  boost::asio::awaitable<bool> write(const Response& response, bool keep_alive, bool is_head, bool old_version);
  boost::asio::awaitable<bool> write_stream(const Response& response, bool chunked);
  boost::asio::awaitable<bool> write_bytes(std::string_view bytes);
  boost::asio::awaitable<After> refuse(const Problem& problem, bool is_head);
  boost::asio::awaitable<void> finish(After after);
  boost::asio::awaitable<void> peer_closed();
  boost::asio::awaitable<void> hurried();
  enum class Peer { there, silent, gone };
  /// `silent`: nothing is to be read.
  Peer look_at_peer();
  void watch_peer();

  HttpStream stream_;
  SessionContext& context_;
  const std::string peer_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer hurry_timer_;
  bool idle_ = false;
  std::shared_ptr<std::function<void()>> when_gone_;  // handlers that come too late find it gone, or another
};

}  // namespace bailiff::server
