#include "server/tls_front.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "server/log.h"

namespace bailiff::server {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kPieceBytes = 16 * 1024;  // the most that one TLS record carries
constexpr unsigned char kHandshakeRecord = 22;  // RFC 8446 section 5.1: what a client that speaks TLS begins with
constexpr std::string_view kPlainAnswer =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\nContent-Length: 92\r\n\r\n"
    R"({"type":"about:blank","title":"Bad Request","status":400,"detail":"this port speaks https"})"
    "\n";

/// Of what the client offers, the one protocol that is spoken here; a client that offers none of it may still speak it.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered, unsigned length,
                    void*) {
  static constexpr std::array<unsigned char, 9> kHttp11 = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, chosen_length, kHttp11.data(), kHttp11.size(), offered, length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

/// Passes bytes on until `from` has ended or `to` is gone.
template <class From, class To>
awaitable<void> pump(From& from, To& to) {
  std::array<char, kPieceBytes> piece;
  for (;;) {
    const auto [ended, count] = co_await from.async_read_some(asio::buffer(piece), kResume);
    if (ended) co_return;
    const auto [gone, written] = co_await asio::async_write(to, asio::buffer(piece.data(), count), kResume);
    if (gone) co_return;
  }
}

void log_failure(const std::exception& e) { log_error("encrypted connection failed", {{"error", e.what()}}); }

}  // namespace

TlsRelay::TlsRelay(tcp::socket client, Plain plain, std::shared_ptr<Context> context, const HttpBounds& bounds)
    : context_(std::move(context)), client_(std::move(client), *context_), plain_(std::move(plain)), timer_(client_.get_executor()),
      bounds_(bounds) {}

awaitable<void> TlsRelay::run() {
  const auto self = shared_from_this();
  try {
    co_await pass_bytes();
    co_await end();
  } catch (const std::exception& e) {
    log_failure(e);
  }
  cut();
}

awaitable<void> TlsRelay::pass_bytes() {
  using namespace asio::experimental::awaitable_operators;
  set_deadline(bounds_.header_time);
  const bool speaks_tls = co_await looks_like_tls();
  if (!speaks_tls) {
    co_await asio::async_write(client_.next_layer(), asio::buffer(kPlainAnswer), kResume);
    co_return;
  }
  const auto [refused] = co_await client_.async_handshake(asio::ssl::stream_base::server, kResume);
  if (refused) co_return;
  passing_ = true;
  if (session_ended_) set_deadline(bounds_.write_time);
  else timer_.cancel();
  co_await (to_session() && to_client());
  passing_ = false;
  set_deadline(bounds_.linger_time);
  co_await client_.async_shutdown(kResume);
}

awaitable<bool> TlsRelay::looks_like_tls() {
  const auto [failed] = co_await client_.next_layer().async_wait(tcp::socket::wait_read, kResume);
  unsigned char first = kHandshakeRecord;
  (void)::recv(client_.next_layer().native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  co_return failed || first == kHandshakeRecord;
}

awaitable<void> TlsRelay::to_session() {
  co_await pump(client_, plain_);
  error_code ignored;
  plain_.shutdown(Plain::shutdown_send, ignored);
}

awaitable<void> TlsRelay::to_client() {
  co_await pump(plain_, client_);
  // The session has said all it will say, or cannot be heard: what the client still sends has no reader. The deadline is for a read that
  // had its bytes already when it was cancelled, and reads on.
  set_deadline(bounds_.linger_time);
  error_code ignored;
  plain_.close(ignored);
  client_.next_layer().cancel(ignored);
}

/// A close with unread bytes resets the connection, and the reset would overtake the last answer.
awaitable<void> TlsRelay::end() {
  set_deadline(bounds_.linger_time);
  error_code ignored;
  plain_.close(ignored);
  auto& socket = client_.next_layer();
  socket.shutdown(tcp::socket::shutdown_send, ignored);
  std::array<char, kPieceBytes> piece;
  for (std::uint64_t discarded = 0; discarded < bounds_.linger_bytes;) {
    const auto [ended, count] = co_await socket.async_read_some(asio::buffer(piece), kResume);
    if (ended) break;
    discarded += count;
  }
}

void TlsRelay::session_ended() {
  session_ended_ = true;
  if (passing_) set_deadline(bounds_.write_time);
}

void TlsRelay::cut() {
  error_code ignored;
  timer_.cancel();
  plain_.close(ignored);
  client_.next_layer().close(ignored);
}

void TlsRelay::set_deadline(std::chrono::milliseconds time) {
  timer_.expires_after(time);
  timer_.async_wait([weak = weak_from_this()](const error_code& cancelled) {
    const auto self = weak.lock();
    if (!cancelled && self) self->cut();
  });
}

core::Result<std::shared_ptr<TlsFront::Context>> TlsFront::make_context(const Files& files) {
  auto context = std::make_shared<Context>(Context::tls_server);
  const auto failed = [](const std::string& file, const error_code& why) {
    return core::error(core::ErrorKind::invalid, "tls: " + file + ": " + why.message());
  };
  error_code why;
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), &choose_protocol, nullptr);
  // Without it OpenSSL would ask on the terminal.
  context->set_password_callback([](std::size_t, asio::ssl::context::password_purpose) { return std::string(); }, why);
  context->use_certificate_chain_file(files.certificate, why);
  if (why) return failed(files.certificate, why);
  context->use_private_key_file(files.key, Context::pem, why);
  if (why) return failed(files.key, why);
  if (SSL_CTX_check_private_key(context->native_handle()) != 1)
    return core::error(core::ErrorKind::invalid, "tls: " + files.key + ": not the key of " + files.certificate);
  return context;
}

core::Result<TlsFront> TlsFront::load(Files files) {
  auto context = make_context(files);
  if (!context) return std::unexpected(std::move(context.error()));
  return TlsFront(std::move(files), std::move(*context));
}

core::Status TlsFront::reload() {
  auto context = make_context(files_);
  if (!context) return std::unexpected(std::move(context.error()));
  context_ = std::move(*context);
  return {};
}

}  // namespace bailiff::server
