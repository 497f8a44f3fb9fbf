#include "server/stream_relay.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "core/json/json.h"
#include "server/api_json.h"
#include "server/log.h"

// g++ 12, below -O3, takes Asio's recycling allocator of coroutine frames for a mismatched pair of new and delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace bailiff::server {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kChunkBytes = 16 * 1024;

/// Takes it over; an empty one stays closed.
void take_over(asio::posix::stream_descriptor& stream, core::Fd fd) {
  if (!fd.valid()) return;
  stream.assign(fd.release());
  stream.non_blocking(true);
}

void close(asio::posix::stream_descriptor& stream) {
  boost::system::error_code ignored;
  stream.close(ignored);
}

bool would_block(ssize_t count) { return count < 0 && (errno == EAGAIN || errno == EINTR); }

/// {"rows", "cols"} of a resize.
std::optional<winsize> size_of(const nlohmann::json& resize) {
  const auto side = [&](const char* name) -> unsigned short {
    const auto value = resize.is_object() ? resize.find(name) : resize.end();
    if (value == resize.end() || !value->is_number_unsigned() || value->get<std::uint64_t>() > 9999) return 0;
    return value->get<unsigned short>();
  };
  const winsize size{side("rows"), side("cols"), 0, 0};
  if (size.ws_row == 0 || size.ws_col == 0 || resize.size() != 2) return std::nullopt;
  return size;
}

std::string end_text(const core::Result<sandbox::ExecEnd>& end) {
  if (!end) return error_control("the sandbox is gone");
  const bool exited = end->exit_code.has_value();
  return core::Json{{exited ? "exit_code" : "signal", exited ? *end->exit_code : end->signal.value_or(0)}}.dump();
}

void log_lost(const core::Error& error) { log_warn("a command beside a program was lost", {{"why", error}}); }

}  // namespace

std::string error_control(const std::string& why) { return core::Json{{"error", core::to_utf8(why)}}.dump(); }

std::expected<Control, std::string> parse_control(std::string_view text) {
  const auto parsed = parse_json(text);
  if (!parsed || !parsed->value.is_object() || parsed->value.size() != 1)
    return std::unexpected("a control message is an object with one member");
  const std::string name = parsed->value.begin().key();
  const core::Json& value = parsed->value.begin().value();
  if (name == "stdin_eof" && value == true) return Control{};
  if (name != "resize") return std::unexpected("control messages are resize and stdin_eof");
  const auto size = size_of(value);
  if (!size) return std::unexpected("resize has rows and cols, each from 1 to 9999");
  return Control{size};
}

StreamRelay::StreamRelay(const asio::any_io_executor& executor, WebSocket& socket, sandbox::ExecSession session,
                         std::chrono::milliseconds drain_time)
    : socket_(socket), control_(std::move(session.control)), ended_(executor, control_.get()), input_(executor), output_(executor),
      errors_(executor), terminal_(!session.output.valid()), drain_time_(drain_time), pumped_(executor) {
  take_over(input_, std::move(session.input));
  take_over(output_, std::move(session.output));
  take_over(errors_, std::move(session.errors));
}

awaitable<void> StreamRelay::run() {
  using namespace asio::experimental::awaitable_operators;
  co_await (from_client() && to_client());
}

awaitable<void> StreamRelay::from_client() {
  std::string fault;
  while (fault.empty()) {
    const auto message = co_await socket_.receive();
    if (!message) break;
    const auto channel = static_cast<Channel>(message->empty() ? -1 : message->front());
    if (channel == Channel::input) co_await write_input(message->substr(1));
    else if (channel == Channel::control) fault = co_await obey(std::string_view(*message).substr(1));
    else fault = "messages from a client begin with the channel, 0 or 3";
  }
  // The command first: a client may take its time with the end of its connection.
  stop();
  co_await socket_.close(fault.empty() ? CloseCode::normal : CloseCode::policy, fault);
}

awaitable<void> StreamRelay::to_client() {
  using namespace asio::experimental::awaitable_operators;
  if (terminal_) co_await (pump(input_, Channel::output) && await_end());
  else co_await (pump(output_, Channel::output) && pump(errors_, Channel::errors) && await_end());
  if (!end_) co_return;
  if (!*end_) log_lost(end_->error());
  asio::steady_timer late(ended_.executor(), drain_time_);
  co_await (tell_end() || late.async_wait(asio::use_awaitable));
  co_await socket_.close(CloseCode::normal, "");
}

awaitable<void> StreamRelay::tell_end() {
  const std::string text = end_text(*end_);
  co_await socket_.send(static_cast<char>(Channel::control), text);
}

awaitable<void> StreamRelay::pump(Stream& from, Channel channel) {
  ++pumps_;
  std::array<char, kChunkBytes> chunk;
  while (from.is_open()) {
    const auto count = ::read(from.native_handle(), chunk.data(), chunk.size());
    if (would_block(count)) {
      if (over_) break;  // what others still hold open is not the command's
      co_await from.async_wait(Stream::wait_read, kResume);
      continue;
    }
    if (count <= 0) break;  // of a terminal, EIO: nobody has its other end
    const bool sent = co_await socket_.send(static_cast<char>(channel), std::string_view(chunk.data(), static_cast<std::size_t>(count)));
    if (!sent) break;
  }
  --pumps_;
  pumped_.all();
}

awaitable<void> StreamRelay::await_end() {
  const bool ended = co_await ended_.wait();
  if (over_) co_return;
  end_ = ended ? sandbox::take_exec_end(control_) : core::error(core::ErrorKind::internal, "a session cannot be watched");
  over_ = true;
  // The pumps empty what is there, and a write that waits for the command to read waits no longer.
  boost::system::error_code ignored;
  input_.cancel(ignored);
  output_.cancel(ignored);
  errors_.cancel(ignored);
  const auto deadline = std::chrono::steady_clock::now() + drain_time_;
  while (pumps_ > 0 && std::chrono::steady_clock::now() < deadline) co_await pumped_.wait_until(deadline);
  if (pumps_ > 0) co_await socket_.close(CloseCode::policy, "the output was not taken in time");
}

awaitable<void> StreamRelay::write_input(std::string bytes) {
  for (std::string_view rest = bytes; !rest.empty() && input_.is_open() && !over_;) {
    const auto count = ::write(input_.native_handle(), rest.data(), rest.size());
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
    else if (would_block(count)) co_await input_.async_wait(Stream::wait_write, kResume);
    else co_return;  // the command has closed it: what comes is nobody's
  }
}

awaitable<std::string> StreamRelay::obey(std::string_view control) {
  const auto wish = parse_control(control);
  if (!wish) co_return wish.error();
  if (wish->size) {
    if (terminal_ && input_.is_open()) (void)::ioctl(input_.native_handle(), TIOCSWINSZ, &*wish->size);
  } else if (terminal_) {
    co_await write_input(std::string(kEndOfTyping));
  } else {
    close(input_);
  }
  co_return "";
}

void StreamRelay::stop() {
  over_ = true;
  ended_.close();
  for (auto* stream : {&input_, &output_, &errors_}) close(*stream);
  control_.reset();  // which ends the command
}

awaitable<void> refuse_stream(WebSocket& socket, std::string why) {
  const std::string text = error_control(why);
  co_await socket.send(static_cast<char>(Channel::control), text);
  co_await socket.close(CloseCode::internal, "");
}

}  // namespace bailiff::server
