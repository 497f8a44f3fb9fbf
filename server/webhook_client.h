#pragma once
// One POST to a webhook's target. The name is looked up once, each address is judged, and the connection goes to an address that was: no
// second look-up could give another one. No proxy, no redirect, nothing of the answer but its status and Retry-After. io thread only.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "server/wake_up.h"
#include "server/webhook_schedule.h"
#include "server/webhook_target.h"

namespace bailiff::server {

class WebhookClient {
 public:
  /// Certificates must lead to one of the system's authorities, or to one in `ca_file` (PEM) where that is not empty. Fails where the file
  /// cannot be read.
  static core::Result<std::unique_ptr<WebhookClient>> make(boost::asio::io_context& io, const std::string& ca_file, WebhookRules rules);

  using Headers = std::vector<std::pair<std::string, std::string>>;
  /// Answers within `at_most` and a second, whatever the receiver does.
  boost::asio::awaitable<WebhookAnswer> post(WebhookTarget target, Headers headers, std::string body, std::chrono::milliseconds at_most);
  /// Those under way end soon, without an answer, and so does any other.
  void give_up();

 private:
  using Time = std::chrono::steady_clock::time_point;
  using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;
  struct Lookup;

  WebhookClient(boost::asio::io_context& io, WebhookRules rules);
  /// Addresses that may be connected to; none: `answer` has why.
  boost::asio::awaitable<Endpoints> find(const WebhookTarget& target, Time deadline, WebhookAnswer& answer);

  boost::asio::io_context& io_;
  const WebhookRules rules_;
  boost::asio::ssl::context tls_;
  std::set<boost::beast::tcp_stream*> connections_;
  std::set<WakeUp*> lookups_;
  bool given_up_ = false;
};

}  // namespace bailiff::server
