#include "cli/channel_session.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <csignal>
#include <cstdlib>

#include "cli/http_client.h"
#include "cli/raw_terminal.h"
#include "core/fd.h"

namespace bailiff::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using core::Json;

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kConnectTime(15);
constexpr std::size_t kReadBytes = 16 * 1024, kMaxMessageBytes = 1 << 20;
constexpr char kInput = 0, kOutput = 1, kErrors = 2, kControl = 3;

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
std::string resize_message(const winsize& size) {
  return kControl + Json{{"resize", {{"rows", size.ws_row}, {"cols", size.ws_col}}}}.dump();
}
std::string end_of_input_message() { return kControl + Json{{"stdin_eof", true}}.dump(); }

Failure unreachable(const std::string& server, const error_code& why) {
  return {kExitUnavailable, fmt::format("no connection to {}: {}", server, why.message()),
          "start a server with script/server, or name yours by --server URL or BAILIFF_SERVER", nullptr};
}

Failure lost(const ChannelOptions& options) {
  return {kExitUnavailable, "the connection to the server was lost", options.when_lost, nullptr};
}

/// Our standard input as coroutines wait for it. Asio would make the descriptor non-blocking, also for whoever shares it with us; and
/// files, which cannot be watched, are always ready.
class StandardInput {
 public:
  explicit StandardInput(const asio::any_io_executor& executor) : watched_(executor) {
    core::Fd set(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    if (set.valid() && ::epoll_ctl(set.get(), EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0) watched_.assign(set.release());
  }
  /// Empty at its end, and when nobody wants it any more: then a read would wait for a key that is never pressed.
  awaitable<std::string> read() {
    if (watched_.is_open()) {
      const auto [cancelled] = co_await watched_.async_wait(asio::posix::stream_descriptor::wait_read, kResume);
      if (cancelled) co_return "";
    }
    std::string bytes(kReadBytes, '\0');
    ssize_t count = 0;
    while ((count = ::read(STDIN_FILENO, bytes.data(), bytes.size())) < 0 && errno == EINTR) {}
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    co_return bytes;
  }

 private:
  asio::posix::stream_descriptor watched_;
};

/// Without compression, which no server of ours speaks.
template <class Layer>
using Socket = websocket::stream<Layer, false>;

/// From the opened WebSocket to its end.
template <class Layer>
class Session {
 public:
  Session(Socket<Layer>& socket, const ChannelOptions& options, const Console& console)
      : socket_(socket), options_(options), console_(console), executor_(socket.get_executor()), outbox_(executor_, 1),
        resized_(executor_, SIGWINCH), ended_(executor_, SIGINT, SIGTERM), never_(executor_, asio::steady_timer::time_point::max()) {
    ended_.add(SIGHUP);
    ended_.add(SIGQUIT);
  }

  awaitable<Expected<ExitCode>> run() {
    using namespace asio::experimental::awaitable_operators;
    if (options_.begun_at_once) begin();
    co_await (receive() || send() || forward_input() || forward_size() || await_signal());
    co_return std::move(result_);
  }

 private:
  awaitable<void> receive() {
    while (true) {
      beast::flat_buffer buffer;
      const auto [ec, count] = co_await socket_.async_read(buffer, kResume);
      if (ec) co_return;
      const std::string_view message(static_cast<const char*>(buffer.data().data()), buffer.size());
      if (!message.empty() && !take(message.front(), message.substr(1))) co_return;
    }
  }
  /// From now on it is the program that has the terminal.
  void begin() {
    if (options_.terminal && !raw_) raw_.emplace(STDIN_FILENO);
  }
  /// False: nobody takes the output any more.
  bool take(char channel, std::string_view bytes) {
    if (channel == kControl) obey(Json::parse(bytes, nullptr, false));
    if (channel != kOutput && channel != kErrors) return true;
    const Stream& stream = channel == kOutput ? console_.out : console_.err;
    // A terminal of its own is for a program that commands a screen; else it is output like any other.
    const auto written = raw_ ? stream.write(bytes) : stream.write_program_output(bytes);
    if (!written) result_ = failure(kExitInternal, written.error().what);
    return written.has_value();
  }

  void obey(const Json& control) {
    if (control.is_object() && control.contains("begun")) begin();
    else if (control.is_object() && control.contains("error") && control["error"].is_string())
      result_ = failure(kExitRefused, control["error"].get<std::string>());
    else result_ = options_.result_of(control);
  }

  awaitable<void> send() {
    while (true) {
      auto [closed, message] = co_await outbox_.async_receive(kResume);
      if (closed) co_return;
      const auto [ec, count] = co_await socket_.async_write(asio::buffer(message), kResume);
      if (ec) break;
    }
    co_await never_.async_wait(kResume);  // what the server said last is still to be read
  }

  awaitable<void> forward_input() {
    StandardInput input(executor_);
    while (true) {
      std::string bytes = co_await input.read();
      if (bytes.empty()) break;
      std::string message = kInput + bytes;
      co_await outbox_.async_send(error_code(), std::move(message), kResume);
    }
    std::string message = end_of_input_message();
    co_await outbox_.async_send(error_code(), std::move(message), kResume);
    co_await never_.async_wait(kResume);
  }

  awaitable<void> forward_size() {
    while (true) {
      const auto [ec, number] = co_await resized_.async_wait(kResume);
      if (ec) co_return;
      const auto size = terminal_size();
      if (!size || !options_.terminal) continue;
      std::string message = resize_message(*size);
      co_await outbox_.async_send(error_code(), std::move(message), kResume);
    }
  }

  awaitable<void> await_signal() {
    const auto [ec, number] = co_await ended_.async_wait(kResume);
    if (!ec) result_ = static_cast<ExitCode>(kKilledBySignal + number);
  }

  Socket<Layer>& socket_;
  const ChannelOptions& options_;
  const Console& console_;
  asio::any_io_executor executor_;
  asio::experimental::channel<void(error_code, std::string)> outbox_;
  asio::signal_set resized_, ended_;
  asio::steady_timer never_;
  std::optional<RawTerminal> raw_;
  Expected<ExitCode> result_ = std::unexpected(lost(options_));
};

/// An upgrade that the server answered with something else.
Failure refusal(const websocket::response_type& response) {
  HttpAnswer answer;
  answer.status = response.result_int();
  answer.content_type = std::string(response[beast::http::field::content_type]);
  answer.retry_after = std::string(response[beast::http::field::retry_after]);
  answer.body = response.body();
  return failure_of_answer(answer);
}

void decorate(websocket::request_type& request, const std::string& key) {
  request.set(beast::http::field::user_agent, "bailiff/" BAILIFF_VERSION);
  if (!key.empty()) request.set(beast::http::field::authorization, "Bearer " + key);
}

template <class Layer>
awaitable<Expected<ExitCode>> talk(Socket<Layer> socket, const ServerAddress& address, const ChannelOptions& options,
                                   const Console& console) {
  const char* key = std::getenv("BAILIFF_API_KEY");
  socket.set_option(websocket::stream_base::timeout{kConnectTime, websocket::stream_base::none(), false});
  socket.set_option(websocket::stream_base::decorator(
      [text = std::string(key == nullptr ? "" : key)](websocket::request_type& request) { decorate(request, text); }));
  socket.binary(true);
  socket.read_message_max(kMaxMessageBytes);
  websocket::response_type response;
  const std::string target = address.path + options.target;
  const auto [ec] = co_await socket.async_handshake(response, address.host_header, target, kResume);
  if (ec == websocket::error::upgrade_declined) co_return std::unexpected(refusal(response));
  if (ec) co_return std::unexpected(unreachable(options.server.url, ec));
  Session<Layer> session(socket, options, console);
  co_return co_await session.run();
}

awaitable<Expected<ExitCode>> connect_and_talk(ServerAddress address, const ChannelOptions& options, const Console& console) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::resolver resolver(executor);
  const auto [unresolved, places] = co_await resolver.async_resolve(address.host, address.port, kResume);
  if (unresolved) co_return std::unexpected(unreachable(options.server.url, unresolved));
  beast::tcp_stream stream(executor);
  stream.expires_after(kConnectTime);
  const auto [unconnected, place] = co_await stream.async_connect(places, kResume);
  if (unconnected) co_return std::unexpected(unreachable(options.server.url, unconnected));
  error_code ignored;
  stream.socket().set_option(tcp::no_delay(true), ignored);
  if (!address.tls) {
    stream.expires_never();
    co_return co_await talk(Socket<beast::tcp_stream>(std::move(stream)), address, options, console);
  }
  asio::ssl::context tls(asio::ssl::context::tls_client);
  tls.set_default_verify_paths(ignored);
  beast::ssl_stream<beast::tcp_stream> secured(std::move(stream), tls);
  secured.set_verify_mode(asio::ssl::verify_peer, ignored);
  secured.set_verify_callback(asio::ssl::host_name_verification(address.host), ignored);
  SSL_set_tlsext_host_name(secured.native_handle(), address.host.c_str());
  const auto [untrusted] = co_await secured.async_handshake(asio::ssl::stream_base::client, kResume);
  if (untrusted) co_return std::unexpected(unreachable(options.server.url, untrusted));
  beast::get_lowest_layer(secured).expires_never();
  co_return co_await talk(Socket<beast::ssl_stream<beast::tcp_stream>>(std::move(secured)), address, options, console);
}

}  // namespace

Expected<ExitCode> run_channels(const ChannelOptions& options, const Console& console) {
  auto address = parse_server(options.server.url);
  if (!address) return std::unexpected(std::move(address.error()));
  std::signal(SIGPIPE, SIG_IGN);  // so that the terminal is put back when nobody reads our output
  asio::io_context io(1);
  Expected<ExitCode> result = std::unexpected(lost(options));
  asio::co_spawn(io, connect_and_talk(std::move(*address), options, console), [&](std::exception_ptr fault, Expected<ExitCode> code) {
    if (fault) std::rethrow_exception(fault);
    result = std::move(code);
  });
  io.run();
  return result;
}

}  // namespace bailiff::cli
