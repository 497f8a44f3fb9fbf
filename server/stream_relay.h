#pragma once
// Joins a program's streams with a WebSocket. A message is one byte, the channel, and what belongs to it:
//
//   0  client → program: its standard input (of a terminal: what is typed)
//   1  program → client: its standard output (of a terminal: everything)
//   2  program → client: its standard error
//   3  control, one JSON object. Client: {"resize": {"rows": 24, "cols": 80}}, {"stdin_eof": true}.
//      Server, as its last message: {"exit_code": 0}, {"signal": 9} or {"error": "why"}.
//
// Nothing is kept beyond one message in each direction: a client that does not read stops the program's writes, and a program that does
// not read stops the client's.
#include <sys/ioctl.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "sandbox/client.h"
#include "server/readable.h"
#include "server/wake_up.h"
#include "server/websocket.h"

namespace bailiff::server {

enum class Channel : char { input = 0, output = 1, errors = 2, control = 3 };

/// What a client's control message asks for.
struct Control {
  std::optional<winsize> size;  // else the end of the input
};
/// Or what is wrong with it.
[[nodiscard]] std::expected<Control, std::string> parse_control(std::string_view text);
/// The last message of a relay that cannot go on.
[[nodiscard]] std::string error_control(const std::string& why);
inline constexpr std::string_view kEndOfTyping = "\x04";  // ^D, as a terminal comes up with

class StreamRelay {
 public:
  /// `socket` outlives it. `drain_time`: how long the client may take for what is left when the program has ended.
  StreamRelay(const boost::asio::any_io_executor& executor, WebSocket& socket, sandbox::ExecSession session,
              std::chrono::milliseconds drain_time);
  StreamRelay(const StreamRelay&) = delete;
  StreamRelay& operator=(const StreamRelay&) = delete;
  /// Until the program has ended and the client knows, or the client is gone, which ends the program.
  boost::asio::awaitable<void> run();

 private:
  using Stream = boost::asio::posix::stream_descriptor;

  boost::asio::awaitable<void> from_client();
  boost::asio::awaitable<void> to_client();
  boost::asio::awaitable<void> pump(Stream& from, Channel channel);
  boost::asio::awaitable<void> await_end();
  boost::asio::awaitable<void> tell_end();
  boost::asio::awaitable<void> write_input(std::string bytes);
  /// What is wrong with it; empty where nothing is.
  boost::asio::awaitable<std::string> obey(std::string_view control);
  void stop();

  WebSocket& socket_;
  core::Fd control_;
  Readable ended_;
  Stream input_, output_, errors_;
  const bool terminal_;
  const std::chrono::milliseconds drain_time_;
  WakeUp pumped_;
  int pumps_ = 0;
  bool over_ = false;  // the program has ended or nobody wants it any more: what cannot be read now is not waited for
  std::optional<core::Result<sandbox::ExecEnd>> end_;
};

/// The last message of a relay that cannot begin, and its close.
boost::asio::awaitable<void> refuse_stream(WebSocket& socket, std::string why);

}  // namespace bailiff::server
