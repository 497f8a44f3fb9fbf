#pragma once
// HTTPS without a proxy: decrypts a connection and passes its bytes to an HTTP session through a pair of sockets.
//
// The session does not know: what it does on its side (bounds, half-closed connections, looking whether the client is still there) means
// the same on the other. It costs a copy and two descriptors a connection.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "core/result.h"
#include "server/http_bounds.h"

namespace bailiff::server {

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
  /// Shakes hands with `client`, then passes bytes both ways until either side has ended. `plain` is our end of the pair; it is closed at
  /// the end. A client that does not speak TLS is told so in plain HTTP. Nothing escapes it.
  [[nodiscard]] boost::asio::awaitable<void> relay(boost::asio::ip::tcp::socket client, boost::asio::local::stream_protocol::socket plain,
                                                   const HttpBounds& bounds) const;

 private:
  using Context = boost::asio::ssl::context;
  TlsFront(Files files, std::shared_ptr<Context> context) : files_(std::move(files)), context_(std::move(context)) {}
  static core::Result<std::shared_ptr<Context>> make_context(const Files& files);

  Files files_;
  std::shared_ptr<Context> context_;
};

}  // namespace bailiff::server
