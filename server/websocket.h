#pragma once
// One WebSocket connection (RFC 6455) as a route sees it: binary messages both ways, free of any HTTP library.
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bailiff::server {

/// Close codes of RFC 6455 section 7.4.1 that we send.
enum class CloseCode : std::uint16_t { normal = 1000, going_away = 1001, unsupported = 1003, policy = 1008, internal = 1011 };

/// On the io thread. One coroutine receives, any number send.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  /// The next message; nothing when the connection is over: closed by either side, broken, or silent for too long. The peer's silence is
  /// not held against it while nobody receives, and while it has not taken what was sent: then it waits, or we do.
  virtual boost::asio::awaitable<std::optional<std::string>> receive() = 0;
  /// One binary message of a first byte and what follows; returns when it is on its way. False: the connection is over.
  virtual boost::asio::awaitable<bool> send(char first, std::string_view rest) = 0;
  /// Says why and ends it, in bounded time. Only the first call counts.
  virtual boost::asio::awaitable<void> close(CloseCode code, std::string reason) = 0;
};

/// Serves a connection; it is over when this returns.
using WebSocketHandler = std::function<boost::asio::awaitable<void>(WebSocket& socket)>;

}  // namespace bailiff::server
