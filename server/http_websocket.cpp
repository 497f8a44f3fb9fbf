#include "server/http_websocket.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/rfc7230.hpp>

namespace bailiff::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Stream = beast::websocket::stream_base;
using std::chrono::steady_clock;

namespace {

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr const char* kProtocol = "bailiff";

/// Browsers end a connection whose server names none of the protocols that they were told to offer.
bool offers_protocol(const HttpWebSocket::UpgradeRequest& request) {
  return beast::http::token_list(request[beast::http::field::sec_websocket_protocol]).exists(kProtocol);
}
void name_protocol(beast::websocket::response_type& answer) { answer.set(beast::http::field::sec_websocket_protocol, kProtocol); }

}  // namespace

HttpWebSocket::HttpWebSocket(HttpStream& stream, const HttpBounds& bounds)
    : socket_(stream), bounds_(bounds), sent_(stream.get_executor()), pulse_(stream.get_executor()) {
  stream.expires_never();  // the WebSocket has timeouts of its own
  socket_.binary(true);
  socket_.auto_fragment(false);
  socket_.read_message_max(bounds.websocket_message_bytes);
  socket_.control_callback([this](beast::websocket::frame_type, beast::string_view) { heard_at_ = steady_clock::now(); });
}

asio::awaitable<bool> HttpWebSocket::accept(const UpgradeRequest& request) {
  if (offers_protocol(request)) socket_.set_option(Stream::decorator(name_protocol));
  socket_.set_option(Stream::timeout{bounds_.write_time, Stream::none(), false});
  auto [ec] = co_await socket_.async_accept(request, kResume);
  socket_.set_option(Stream::timeout{bounds_.websocket_close_time, Stream::none(), false});
  co_return !ec;
}

asio::awaitable<std::optional<std::string>> HttpWebSocket::receive() {
  beast::flat_buffer buffer;
  receiving_ = true;
  auto [ec, count] = co_await socket_.async_read(buffer, kResume);
  receiving_ = false;
  heard_at_ = steady_clock::now();
  if (ec) co_return std::nullopt;
  text_seen_ = socket_.got_text();
  if (text_seen_) co_return std::nullopt;
  const auto bytes = buffer.data();
  co_return std::string(static_cast<const char*>(bytes.data()), bytes.size());
}

asio::awaitable<bool> HttpWebSocket::send(char first, std::string_view rest) {
  while (sending_) co_await sent_.wait();
  if (closing_) co_return false;
  sending_ = true;
  const std::array<asio::const_buffer, 2> parts = {asio::buffer(&first, 1), asio::buffer(rest.data(), rest.size())};
  auto [ec, count] = co_await socket_.async_write(parts, kResume);
  sending_ = false;
  sent_.all();
  co_return !ec;
}

asio::awaitable<void> HttpWebSocket::watch() {
  heard_at_ = steady_clock::now();
  while (watching_) {
    pulse_.expires_after(bounds_.websocket_ping_time);
    co_await pulse_.async_wait(kResume);
    if (!watching_) co_return;
    const auto now = steady_clock::now();
    if (sending_ || !receiving_) heard_at_ = now;
    if (now - heard_at_ < bounds_.websocket_ping_time) continue;
    if (now - heard_at_ >= bounds_.websocket_idle_time) co_return cut();
    co_await socket_.async_ping({}, kResume);
  }
}

void HttpWebSocket::stop_watching() {
  watching_ = false;
  pulse_.cancel();
}

asio::awaitable<void> HttpWebSocket::close(CloseCode code, std::string reason) {
  using namespace asio::experimental::awaitable_operators;
  if (std::exchange(closing_, true)) co_return;
  if (text_seen_) {
    code = CloseCode::unsupported;
    reason = "messages are binary";
  }
  asio::steady_timer late(socket_.get_executor(), bounds_.websocket_close_time);
  // A write that the peer does not take holds the close frame back.
  co_await (shake_hands(code, std::move(reason)) || late.async_wait(asio::use_awaitable));
  cut();
}

void HttpWebSocket::cut() {
  beast::error_code ignored;
  socket_.next_layer().socket().close(ignored);
}

asio::awaitable<void> HttpWebSocket::shake_hands(CloseCode code, std::string reason) {
  beast::websocket::close_reason why(static_cast<std::uint16_t>(code));
  why.reason.assign(reason.data(), std::min(reason.size(), why.reason.max_size()));
  co_await socket_.async_close(why, kResume);
}

}  // namespace bailiff::server
