#pragma once
// One request and one answer, free of any HTTP library, so that routes are tested without a socket.
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "server/websocket.h"

namespace bailiff::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;  // as sent: "GET"
  std::string target;  // origin form: "/v1/jobs?limit=5"
  Headers headers;     // in order, names as sent
  std::string peer;    // the client's IP address; of a proxy, where one stands between
  std::string body;
  std::shared_ptr<core::Fd> body_file;  // instead of body: the bytes from offset 0, for a route that takes a file

  /// All fields of that name (case-insensitive), joined by ", " as RFC 9110 section 5.3 has it; nothing where there is none.
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
};

/// A body that is read while it is sent, so that a large one never stands in memory as a whole.
struct BodySource {
  std::uint64_t length = 0;
  /// Bytes [offset, offset + length) of the body; fewer is an error. Called on the io thread.
  std::function<core::Result<std::string>(std::uint64_t offset, std::uint64_t length)> read;
};

/// Takes the bytes of an answer as they come.
class BodySink {
 public:
  virtual ~BodySink() = default;
  /// Returns when they are on their way, so that a slow client slows the sender down and nothing is piled up. False: the client is gone, or
  /// did not take them within the time of HttpBounds.
  virtual boost::asio::awaitable<bool> send(std::string_view bytes) = 0;
};

/// Sends a body of a length that nobody knows before its end. False: it is not whole, and the client must see that.
using BodyStream = std::function<boost::asio::awaitable<bool>(BodySink& sink)>;

struct Response {
  unsigned status = 200;
  std::string content_type;  // empty: no body
  Headers headers;
  std::string body;
  std::optional<BodySource> source;  // instead of body
  BodyStream stream = {};  // instead of body; what the request refers to lives until its end
  WebSocketHandler upgrade = {};  // instead of an answer: the connection becomes a WebSocket, or is told (426) that it must
};

/// What a route may ask of the connection that its request came on.
class Client {
 public:
  virtual ~Client() = default;
  /// Ends when nobody waits for the answer any more: the client went away or the server drains. Ends with an exception when cancelled.
  virtual boost::asio::awaitable<void> gone() = 0;
  /// As gone() for who waits for something else and has no coroutine to spare: `call` is called, at once or once, when nobody waits any
  /// more. Null takes the last one back.
  virtual void when_gone(std::function<void()> call) = 0;
};

}  // namespace bailiff::server
