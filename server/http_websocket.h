#pragma once
// A WebSocket over the connection of an HTTP session that was asked to upgrade.
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <optional>
#include <string>

#include "server/http_bounds.h"
#include "server/wake_up.h"
#include "server/websocket.h"

namespace bailiff::server {

/// A connection: of TCP, or of the pair to a TlsFront.
using HttpStream = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;

class HttpWebSocket final : public WebSocket {
 public:
  using UpgradeRequest = boost::beast::http::request<boost::beast::http::string_body>;

  HttpWebSocket(HttpStream& stream, const HttpBounds& bounds);
  /// The handshake. False: the connection is over.
  boost::asio::awaitable<bool> accept(const UpgradeRequest& request);
  /// Asks a silent peer for a sign of life, and cuts the connection where none comes in time; until stop_watching(). To run beside what
  /// uses the socket.
  boost::asio::awaitable<void> watch();
  void stop_watching();
  boost::asio::awaitable<std::optional<std::string>> receive() override;
  boost::asio::awaitable<bool> send(char first, std::string_view rest) override;
  boost::asio::awaitable<void> close(CloseCode code, std::string reason) override;

 private:
  void cut();
  boost::asio::awaitable<void> shake_hands(CloseCode code, std::string reason);

  boost::beast::websocket::stream<HttpStream&, false> socket_;  // false: no compression
  const HttpBounds& bounds_;
  WakeUp sent_;
  boost::asio::steady_timer pulse_;
  bool sending_ = false, receiving_ = false, closing_ = false, text_seen_ = false;
  bool watching_ = true;
  std::chrono::steady_clock::time_point heard_at_;
};

}  // namespace bailiff::server
