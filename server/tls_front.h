#pragma once
// HTTPS without a proxy: decrypts a connection and passes its bytes to an HTTP session through a pair of sockets.
//
// The session does not know: what it does on its side (half-closed connections, looking whether the client is still there) means the same
// on the other, and while it lives its deadlines are the connection's. It costs a copy and two descriptors a connection.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "core/result.h"
#include "server/http_bounds.h"

namespace bailiff::server {

/// One connection. Shared with its coroutine and its timer; io thread only.
class TlsRelay : public std::enable_shared_from_this<TlsRelay> {
 public:
  using Plain = boost::asio::local::stream_protocol::socket;
  using Context = boost::asio::ssl::context;
  /// `plain` is our end of the pair; it is closed at the end. `bounds` outlives this object.
  TlsRelay(boost::asio::ip::tcp::socket client, Plain plain, std::shared_ptr<Context> context, const HttpBounds& bounds);
  /// Shakes hands, then passes bytes both ways until either side has ended and the client has what the session said. A client that does not
  /// speak TLS is told so in plain HTTP. Nothing escapes it.
  boost::asio::awaitable<void> run();
  /// The session has ended, and its deadlines with it: what it said is taken by the client in the time of one write, or lost.
  void session_ended();
  /// Whatever it is doing, it ends now.
  void cut();

 private:
  using Tcp = boost::asio::ip::tcp::socket;
  boost::asio::awaitable<bool> looks_like_tls();
  boost::asio::awaitable<void> pass_bytes();
  boost::asio::awaitable<void> to_session();
  boost::asio::awaitable<void> to_client();
  boost::asio::awaitable<void> end();
  void set_deadline(std::chrono::milliseconds time);

  const std::shared_ptr<Context> context_;  // a connection keeps the one that it began with
  boost::asio::ssl::stream<Tcp> client_;
  Plain plain_;
  boost::asio::steady_timer timer_;
  const HttpBounds& bounds_;
  bool passing_ = false, session_ended_ = false;
};

class TlsFront {
 public:
  /// PEM files: the certificate with its chain, and its private key without a passphrase.
  struct Files {
    std::string certificate, key;
  };

  /// invalid: a file cannot be read, or they do not belong together; the error names the file.
  static core::Result<TlsFront> load(Files files);
  /// Reads the files again, for connections from now on. Where that fails, what was read before stays.
  core::Status reload();
  [[nodiscard]] std::shared_ptr<TlsRelay> relay(boost::asio::ip::tcp::socket client, TlsRelay::Plain plain,
                                                const HttpBounds& bounds) const {
    return std::make_shared<TlsRelay>(std::move(client), std::move(plain), context_, bounds);
  }

 private:
  using Context = TlsRelay::Context;
  TlsFront(Files files, std::shared_ptr<Context> context) : files_(std::move(files)), context_(std::move(context)) {}
  static core::Result<std::shared_ptr<Context>> make_context(const Files& files);

  Files files_;
  std::shared_ptr<Context> context_;
};

}  // namespace bailiff::server
