#include "server/http_server.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <set>

#include "core/fd.h"
#include "server/http_session.h"
#include "server/log.h"

namespace bailiff::server {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxRefusals = 64;                        // being told 503 at one time; beyond it connections are just closed
constexpr int kBacklog = 1024;
constexpr std::chrono::milliseconds kAcceptPause{100};          // when the process is out of descriptors, until some are given back
// A peer whose host is gone is noticed after a minute, even while there is nothing to say.
constexpr int kKeepAliveIdleS = 30, kKeepAliveIntervalS = 10, kKeepAliveProbes = 3;
constexpr std::chrono::milliseconds kHurryTime{500};            // for the last answers of a drain, and again for the last coroutines

core::Result<core::Fd> listening_socket(const tcp::endpoint& endpoint) {
  core::Fd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return core::errno_error("socket");
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return core::errno_error("SO_REUSEADDR");
  if (::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) return core::errno_error("bind");
  if (::listen(fd.get(), kBacklog) != 0) return core::errno_error("listen");
  return fd;
}

void keep_alive(int socket) {
  const int on = 1;
  (void)::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleS, sizeof kKeepAliveIdleS);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveIntervalS, sizeof kKeepAliveIntervalS);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveProbes, sizeof kKeepAliveProbes);
}

void log_pause(int number) { log_warn("cannot accept", {{"error", std::strerror(number)}}); }

}  // namespace

/// Shared with the coroutines, which may outlive the server object until the io_context ends.
struct HttpServer::State : std::enable_shared_from_this<HttpServer::State> {
  State(asio::io_context& io_context, ApiContext api_context, HttpBounds all_bounds)
      : io(io_context), bounds(all_bounds), api(std::move(api_context), bounds), acceptor(io_context), changed(io_context) {}

  awaitable<void> accept_all();
  awaitable<void> pause_accepting();
  /// False: there are no descriptors for it.
  bool accept_one(core::Fd fd);
  static awaitable<void> count_down(std::shared_ptr<State> self, std::size_t& counter, awaitable<void> connection);
  awaitable<void> serve(HttpStream::socket_type socket, std::string peer, bool refused);
  awaitable<void> serve_tls(HttpStream::socket_type socket, std::string peer, bool refused, std::shared_ptr<TlsRelay> relay);
  awaitable<void> wait_empty(std::chrono::steady_clock::time_point deadline);

  asio::io_context& io;
  const HttpBounds bounds;
  Api api;
  SessionContext context{api, bounds};
  tcp::acceptor acceptor;
  tcp protocol = tcp::v4();
  const TlsFront* tls = nullptr;
  asio::steady_timer changed;  // cancelled when the last connection ends
  std::set<Session*> sessions;
  std::set<std::shared_ptr<TlsRelay>> relays;
  std::size_t connections = 0, refusals = 0;  // with their relays, which may outlive the sessions
};

awaitable<void> HttpServer::State::accept_all() {
  const auto self = shared_from_this();
  while (acceptor.is_open()) {
    auto [ec] = co_await acceptor.async_wait(tcp::acceptor::wait_read, kResume);
    if (ec || !acceptor.is_open()) co_return;
    core::Fd fd(::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.valid()) {
      if (!accept_one(std::move(fd))) co_await pause_accepting();
      continue;
    }
    // Other errors are of the one connection, which is gone.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) co_await pause_accepting();
  }
}

awaitable<void> HttpServer::State::pause_accepting() {
  log_pause(errno);
  asio::steady_timer pause(io, kAcceptPause);
  co_await pause.async_wait(kResume);
}

bool HttpServer::State::accept_one(core::Fd fd) {
  const bool refused = connections >= bounds.connections;
  if (refused && refusals >= kMaxRefusals) return true;
  tcp::socket socket(io);
  error_code ec;
  socket.assign(protocol, fd.get(), ec);
  if (ec) return true;
  (void)fd.release();
  socket.set_option(tcp::no_delay(true), ec);
  keep_alive(socket.native_handle());
  std::string peer;
  const auto endpoint = socket.remote_endpoint(ec);
  if (!ec) peer = endpoint.address().to_string();
  auto& counter = refused ? refusals : connections;
  awaitable<void> connection;
  if (tls == nullptr) {
    connection = serve(std::move(socket), std::move(peer), refused);
  } else {
    asio::local::stream_protocol::socket ours(io), sessions_end(io);
    asio::local::connect_pair(ours, sessions_end, ec);
    if (ec) return false;
    auto relay = tls->relay(std::move(socket), std::move(ours), bounds);
    connection = serve_tls(std::move(sessions_end), std::move(peer), refused, std::move(relay));
  }
  ++counter;
  asio::co_spawn(io, count_down(shared_from_this(), counter, std::move(connection)), asio::detached);
  return true;
}

awaitable<void> HttpServer::State::count_down(std::shared_ptr<State> self, std::size_t& counter, awaitable<void> connection) {
  co_await std::move(connection);
  --counter;
  if (self->connections == 0) self->changed.cancel();
}

awaitable<void> HttpServer::State::serve(HttpStream::socket_type socket, std::string peer, bool refused) {
  const auto self = shared_from_this();
  Session session(std::move(socket), std::move(peer), context);
  if (refused) {
    co_await session.run_refusal();
    co_return;
  }
  sessions.insert(&session);
  co_await session.run();
  sessions.erase(&session);
}

awaitable<void> HttpServer::State::serve_tls(HttpStream::socket_type socket, std::string peer, bool refused,
                                             std::shared_ptr<TlsRelay> relay) {
  using namespace asio::experimental::awaitable_operators;
  const auto self = shared_from_this();
  relays.insert(relay);
  auto session = serve(std::move(socket), std::move(peer), refused);
  const auto serve_session = [&]() -> awaitable<void> {
    co_await std::move(session);
    relay->session_ended();
  };
  co_await (serve_session() && relay->run());
  relays.erase(relay);
}

awaitable<void> HttpServer::State::wait_empty(std::chrono::steady_clock::time_point deadline) {
  while (connections > 0 && std::chrono::steady_clock::now() < deadline) {
    changed.expires_at(deadline);
    co_await changed.async_wait(kResume);
  }
}

HttpServer::HttpServer(asio::io_context& io, ApiContext context, HttpBounds bounds)
    : state_(std::make_shared<State>(io, std::move(context), bounds)) {}

HttpServer::~HttpServer() {
  stop_accepting();
  for (auto* session : state_->sessions) session->cut();
  for (const auto& relay : state_->relays) relay->cut();
  state_->api.finish_aside();
}

core::Result<std::uint16_t> HttpServer::listen(const std::string& address, std::uint16_t port, const TlsFront* tls) {
  error_code ec;
  const auto ip = asio::ip::make_address(address, ec);
  if (ec) return core::error(core::ErrorKind::invalid, "not a numeric address: " + address);
  const tcp::endpoint endpoint(ip, port);
  auto fd = listening_socket(endpoint);
  if (!fd) return std::unexpected(std::move(fd.error()));
  state_->protocol = endpoint.protocol();
  state_->tls = tls;
  state_->acceptor.assign(endpoint.protocol(), fd->get(), ec);
  if (ec) return core::error(core::ErrorKind::internal, "listen: " + ec.message());
  (void)fd->release();
  const auto bound = state_->acceptor.local_endpoint(ec);
  if (ec) return core::error(core::ErrorKind::internal, "local address: " + ec.message());
  asio::co_spawn(state_->io, state_->accept_all(), asio::detached);
  return bound.port();
}

void HttpServer::stop_accepting() {
  state_->context.draining = true;
  error_code ignored;
  state_->acceptor.close(ignored);
  for (auto* session : state_->sessions) session->on_drain();
}

awaitable<void> HttpServer::drain(std::chrono::steady_clock::time_point deadline) {
  const auto state = state_;
  stop_accepting();
  co_await state->wait_empty(deadline);
  state->context.hurried = true;
  for (auto* session : state->sessions) session->hurry();
  co_await state->wait_empty(std::chrono::steady_clock::now() + kHurryTime);
  for (auto* session : state->sessions) session->cut();
  for (const auto& relay : state->relays) relay->cut();
  co_await state->wait_empty(std::chrono::steady_clock::now() + kHurryTime);
}

std::size_t HttpServer::connections() const { return state_->connections; }

}  // namespace bailiff::server
