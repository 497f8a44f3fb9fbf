#include "server/http_session.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <cerrno>
#include <chrono>

#include "server/http_fields.h"
#include "server/http_framing.h"
#include "server/log.h"

namespace bailiff::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::awaitable;
using beast::error_code;
using std::chrono::steady_clock;

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::uint64_t kSliceBytes = 256 * 1024;            // of an answer: each has the whole write time

/// The bytes that one request's body adds to those of all, given back at the end of the request.
class HeldBody {
 public:
  explicit HeldBody(std::uint64_t& total) : total_(total) {}
  HeldBody(const HeldBody&) = delete;
  HeldBody& operator=(const HeldBody&) = delete;
  ~HeldBody() { total_ -= held_; }
  [[nodiscard]] bool grow_to(std::uint64_t bytes, std::uint64_t bound) {
    total_ += bytes - held_;
    held_ = bytes;
    return total_ <= bound;
  }

 private:
  std::uint64_t& total_;
  std::uint64_t held_ = 0;
};

/// What a failed read of a request means to the client; status 0 where nobody is left to be told.
Problem problem_of_read(const error_code& ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) return {431, "the request's header is too large", {}, {}};
  if (ec == http::error::body_limit) return {413, "the request's body is larger than this server takes", {}, {}};
  const bool ended = ec == http::error::end_of_stream || ec == http::error::partial_message;
  if (ec.category() != http::make_error_code(http::error::end_of_stream).category() || ended) return {0, {}, {}, {}};
  return {400, "the request is not valid HTTP/1.1", {}, {}};
}

Problem too_many_connections() { return {503, "too many connections; try again later", {}, {{"Retry-After", "1"}}}; }
Problem must_upgrade() { return {426, "this is a WebSocket (RFC 6455): GET with Upgrade: websocket", {}, {{"Upgrade", "websocket"}}}; }
Problem foreign_origin() { return {403, "a page of another origin may not connect here", {}, {}}; }
Problem early_frames() { return {400, "nothing may follow the upgrade before its answer", {}, {}}; }
Problem too_many_bodies() { return {503, "too many large requests at once; try again later", {}, {{"Retry-After", "5"}}}; }

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
void log_failure(const std::exception& e) { log_error("connection failed", {{"error", e.what()}}); }

void log_short_body(const core::Result<std::string>& slice) {
  log_error("output ended early", {{"error", slice ? std::string("fewer bytes than its size") : slice.error().what}});
}

}  // namespace

Session::Session(HttpStream::socket_type socket, std::string peer, SessionContext& context)
    : stream_(std::move(socket)), context_(context), peer_(std::move(peer)), buffer_(context.bounds.header_bytes + kReadBytes),
      hurry_timer_(stream_.get_executor(), asio::steady_timer::time_point::max()) {}

awaitable<void> Session::run() {
  auto after = After::keep;
  try {
    for (bool first = true; after == After::keep; first = false) {
      const bool more = co_await next_request(first);
      if (!more) break;
      after = co_await one_request();
      if (context_.draining && after == After::keep) after = After::close;
    }
    co_await finish(after);
  } catch (const std::exception& e) {
    log_failure(e);
  }
  cut();
}

awaitable<void> Session::run_refusal() {
  try {
    const Problem problem = too_many_connections();
    co_await refuse(problem, false);
    co_await finish(After::linger);
  } catch (const std::exception& e) {
    log_failure(e);
  }
  cut();
}

awaitable<bool> Session::next_request(bool first) {
  if (buffer_.size() > 0) co_return true;
  idle_ = true;
  stream_.expires_after(first ? context_.bounds.header_time : context_.bounds.idle_time);
  auto [ec, count] = co_await stream_.async_read_some(buffer_.prepare(4096), kResume);
  idle_ = false;
  buffer_.commit(count);
  co_return !ec;
}

awaitable<Session::After> Session::one_request() {
  const auto& bounds = context_.bounds;
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(bounds.header_bytes));
  parser.body_limit(std::max(bounds.body_bytes, bounds.file_bytes));  // the one that holds is known with the header
  // One instant for the whole header: a byte now and then does not move it.
  stream_.expires_after(bounds.header_time);
  const auto [ec, header_count] = co_await http::async_read_header(stream_, buffer_, parser, kResume);
  const bool is_head = parser.get().method() == http::verb::head;
  std::optional<Problem> fault = ec ? problem_of_read(ec) : framing_fault(parser.get().base());
  if (fault) co_return co_await refuse(*fault, is_head);

  Request request = request_of(parser.get().base());
  request.peer = peer_;
  const bool keep_alive = parser.keep_alive() && !context_.draining;
  const bool old_version = parser.get().version() < 11;
  if (auto answer = context_.api.answer_head(request)) {
    const bool stay = keep_alive && parser.is_done();
    const bool written = co_await write(*answer, stay, is_head, old_version);
    co_return !written ? After::close : stay ? After::keep : After::linger;
  }
  auto file = context_.api.body_file(request);
  if (file && !*file) co_return co_await refuse(problem_of(file->error(), "receive a file"), is_head);
  const std::uint64_t most = file ? (*file)->most_bytes : bounds.body_bytes;
  if (parser.content_length().value_or(0) > most) co_return co_await refuse(problem_of_read(http::error::body_limit), is_head);
  HeldBody held(context_.bodies_bytes);
  const bool expects = !old_version && equals_ignoring_case(request.header("Expect").value_or(""), "100-continue");
  if (expects && !parser.is_done() && buffer_.size() == 0) {
    const bool told = co_await write_bytes("HTTP/1.1 100 Continue\r\n\r\n");
    if (!told) co_return After::close;
  }
  if (file) {
    const auto refused = co_await receive_file(std::move(parser), *(*file)->file, most);
    if (refused) co_return co_await refuse(*refused, is_head);
    request.body_file = (*file)->file;
  }
  const auto deadline = steady_clock::now() + bounds.body_time;
  while (!file && !parser.is_done()) {
    stream_.expires_at(std::min(steady_clock::now() + bounds.body_read_time, deadline));
    auto [body_ec, count] = co_await http::async_read_some(stream_, buffer_, parser, kResume);
    if (body_ec) fault = problem_of_read(body_ec);
    if (!fault && parser.get().body().size() > most) fault = problem_of_read(http::error::body_limit);
    if (!fault && !held.grow_to(parser.get().body().size(), bounds.bodies_bytes)) fault = too_many_bodies();
    if (!fault) continue;
    // What it held is free before the answer goes out, or the next one would be refused for it too.
    (void)held.grow_to(0, bounds.bodies_bytes);
    std::string().swap(parser.get().body());
    co_return co_await refuse(*fault, is_head);
  }
  if (!file) request.body = std::move(parser.get().body());
  stream_.expires_never();
  const Response response = co_await context_.api.handle(request, *this);
  if (response.upgrade) co_return co_await upgrade(parser, request, response.upgrade);
  const bool stay = keep_alive && !context_.draining && !(response.stream && old_version);
  const bool written = co_await write(response, stay, is_head, old_version);
  co_return !written ? After::close : stay ? After::keep : buffer_.size() > 0 ? After::linger : After::close;
}

awaitable<Session::After> Session::upgrade(const Parser& parser, const Request& request, const WebSocketHandler& handler) {
  using namespace asio::experimental::awaitable_operators;
  if (!beast::websocket::is_upgrade(parser.get())) co_return co_await refuse(must_upgrade(), request.method == "HEAD");
  // A page of another site can open a WebSocket here with a browser's help; unlike any other request it is not stopped by the browser.
  if (!is_same_origin(request.header("Origin"), request.header("Host"))) co_return co_await refuse(foreign_origin(), false);
  if (buffer_.size() > 0) co_return co_await refuse(early_frames(), false);
  HttpWebSocket socket(stream_, context_.bounds);
  const bool accepted = co_await socket.accept(parser.get());
  if (!accepted) co_return After::close;
  bool served = false;
  const auto serve = [&]() -> awaitable<void> {
    co_await handler(socket);
    served = true;
    hurry_timer_.cancel();
    socket.stop_watching();
  };
  const auto leave = [&]() -> awaitable<void> {
    co_await hurried();
    if (!served) co_await socket.close(CloseCode::going_away, "the server ends");
  };
  co_await (serve() && leave() && socket.watch());
  co_await socket.close(CloseCode::normal, "");
  co_return After::close;
}

awaitable<std::optional<Problem>> Session::receive_file(Parser&& header, const core::Fd& file, std::uint64_t most) {
  http::request_parser<http::buffer_body> parser(std::move(header));
  std::vector<char> piece(kReadBytes);
  std::uint64_t received = 0;
  const auto deadline = steady_clock::now() + context_.bounds.file_time;
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    stream_.expires_at(std::min(steady_clock::now() + context_.bounds.body_read_time, deadline));
    const auto [ec, count] = co_await http::async_read_some(stream_, buffer_, parser, kResume);
    if (ec && ec != http::error::need_buffer) co_return problem_of_read(ec);
    const std::string_view bytes(piece.data(), piece.size() - body.size);
    if (received + bytes.size() > most) co_return problem_of_read(http::error::body_limit);
    const auto written = co_await context_.api.write_body(file, bytes, received);
    if (!written) co_return problem_of(written.error(), "receive a file");
    received += bytes.size();
  }
  co_return std::nullopt;
}

awaitable<bool> Session::write(const Response& response, bool keep_alive, bool is_head, bool old_version) {
  const std::uint64_t length = response.source ? response.source->length : response.body.size();
  std::string bytes = response_head(response, length, keep_alive, old_version);
  const bool has_body = !is_head && length > 0 && response.status != 204 && response.status != 304;
  if (has_body && !response.source && length <= kSliceBytes) bytes += response.body;
  const bool begun = co_await write_bytes(bytes);
  if (!begun) co_return false;
  if (response.stream && !is_head) co_return co_await write_stream(response, !old_version);
  if (!has_body) co_return true;
  if (!response.source && length <= kSliceBytes) co_return true;
  if (!response.source) co_return co_await write_bytes(response.body);
  for (std::uint64_t offset = 0; offset < length; offset += kSliceBytes) {
    const auto wanted = std::min(kSliceBytes, length - offset);
    const auto slice = response.source->read(offset, wanted);
    // The header is out: all that is left to say is a connection that ends before its length.
    if (!slice || slice->size() != wanted) {
      log_short_body(slice);
      co_return false;
    }
    const bool written = co_await write_bytes(*slice);
    if (!written) co_return false;
  }
  co_return true;
}

/// Frames what is sent as chunks (RFC 9112 section 7.1).
class Session::Sink final : public BodySink {
 public:
  Sink(Session& session, bool chunked) : session_(session), chunked_(chunked) {}
  awaitable<bool> send(std::string_view bytes) override {
    if (broken_ || bytes.empty()) co_return !broken_;
    if (!chunked_ || bytes.size() > kSliceBytes) {
      const std::string head = chunked_ ? fmt::format("{:x}\r\n", bytes.size()) : std::string();
      const bool begun = co_await session_.write_bytes(head);
      broken_ = !begun;
      if (begun) {
        const bool written = co_await session_.write_bytes(bytes);
        broken_ = !written;
      }
      if (!broken_ && chunked_) {
        const bool ended = co_await session_.write_bytes("\r\n");
        broken_ = !ended;
      }
      co_return !broken_;
    }
    std::string chunk = fmt::format("{:x}\r\n", bytes.size());
    chunk += bytes;
    chunk += "\r\n";
    const bool written = co_await session_.write_bytes(chunk);
    broken_ = !written;
    co_return written;
  }

 private:
  Session& session_;
  const bool chunked_;
  bool broken_ = false;
};

awaitable<bool> Session::write_stream(const Response& response, bool chunked) {
  buffer_.shrink_to_fit();  // it may be long until the next request
  Sink sink(*this, chunked);
  const bool whole = co_await response.stream(sink);
  if (!whole) co_return false;
  if (!chunked) co_return true;
  co_return co_await write_bytes("0\r\n\r\n");
}

awaitable<bool> Session::write_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto slice = bytes.substr(0, kSliceBytes);
    stream_.expires_after(context_.bounds.write_time);
    auto [ec, count] = co_await asio::async_write(stream_, asio::buffer(slice.data(), slice.size()), kResume);
    if (ec) co_return false;
    bytes.remove_prefix(slice.size());
  }
  co_return true;
}

awaitable<Session::After> Session::refuse(const Problem& problem, bool is_head) {
  if (problem.status == 0) co_return After::close;
  const Response response = problem_response(problem);
  const bool written = co_await write(response, false, is_head, false);
  co_return written ? After::linger : After::close;
}

awaitable<void> Session::finish(After after) {
  error_code ignored;
  stream_.socket().shutdown(HttpStream::socket_type::shutdown_send, ignored);
  if (after != After::linger) co_return;
  // A close with unread bytes resets the connection, and the reset would overtake the answer.
  buffer_.clear();
  stream_.expires_after(context_.bounds.linger_time);
  for (std::uint64_t discarded = 0; discarded < context_.bounds.linger_bytes && !context_.hurried;) {
    auto [ec, count] = co_await stream_.async_read_some(buffer_.prepare(kReadBytes), kResume);
    if (ec) co_return;
    discarded += count;
  }
}

awaitable<void> Session::gone() {
  using namespace asio::experimental::awaitable_operators;
  co_await (peer_closed() || hurried());
}

awaitable<void> Session::peer_closed() {
  auto& socket = stream_.socket();
  while (true) {
    auto [ec] = co_await socket.async_wait(HttpStream::socket_type::wait_read, kResume);
    if (ec) co_return;
    const Peer peer = look_at_peer();
    if (peer == Peer::gone) co_return;
    if (peer == Peer::there) break;
  }
  // The next request is already there, and hides whether the client still is.
  asio::steady_timer never(socket.get_executor(), asio::steady_timer::time_point::max());
  co_await never.async_wait(asio::use_awaitable);
}

Session::Peer Session::look_at_peer() {
  char byte = 0;
  const auto count = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count > 0) return Peer::there;
  return count == 0 || (errno != EAGAIN && errno != EINTR) ? Peer::gone : Peer::silent;
}

void Session::when_gone(std::function<void()> call) {
  when_gone_.reset();
  if (!call) return;
  if (context_.hurried) return call();
  when_gone_ = std::make_shared<std::function<void()>>(std::move(call));
  watch_peer();
}

void Session::watch_peer() {
  // What it refers to lives for as long as the weak pointer does.
  stream_.socket().async_wait(HttpStream::socket_type::wait_read, [this, weak = std::weak_ptr(when_gone_)](const error_code& ec) {
    const auto call = weak.lock();
    if (!call) return;
    const Peer peer = ec ? Peer::gone : look_at_peer();
    if (peer == Peer::gone) (*call)();
    else if (peer == Peer::silent) watch_peer();
    // Else the next request is already there, and hides whether the client still is.
  });
}

awaitable<void> Session::hurried() {
  if (context_.hurried) co_return;
  co_await hurry_timer_.async_wait(kResume);
}

void Session::on_drain() {
  if (idle_) cut();
}

void Session::hurry() {
  hurry_timer_.cancel();
  if (const auto call = when_gone_) (*call)();
}

void Session::cut() {
  error_code ignored;
  stream_.socket().close(ignored);
}

}  // namespace bailiff::server
