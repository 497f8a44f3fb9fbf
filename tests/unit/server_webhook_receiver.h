#pragma once
// Somebody whom webhooks are sent to: an HTTP server on loopback that keeps what it got and answers what the test says.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server_self_signed.h"

namespace bailiff::server::testing {

struct Received {
  std::string method, target, body;
  std::map<std::string, std::string> headers;  // names in lower case
};

class WebhookReceiver {
 public:
  /// The bytes to answer message number `number`, from 0, with; empty: no answer, ever. On the receiver's thread.
  using Answer = std::function<std::string(const Received& message, std::size_t number)>;

  explicit WebhookReceiver(Answer answer, const SelfSigned* identity = nullptr) : answer_(std::move(answer)) {
    if (identity != nullptr) {
      tls_.emplace(boost::asio::ssl::context::tls_server);
      tls_->use_certificate(boost::asio::buffer(identity->certificate), boost::asio::ssl::context::pem);
      tls_->use_private_key(boost::asio::buffer(identity->key), boost::asio::ssl::context::pem);
    }
    boost::asio::co_spawn(io_, accept(), boost::asio::detached);
    thread_ = std::thread([this] { io_.run(); });
  }
  WebhookReceiver(const WebhookReceiver&) = delete;
  WebhookReceiver& operator=(const WebhookReceiver&) = delete;
  ~WebhookReceiver() {
    io_.stop();
    thread_.join();
  }

  [[nodiscard]] std::string url(const std::string& host = "127.0.0.1") const {
    return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(acceptor_.local_endpoint().port()) + "/hook?a=b";
  }
  [[nodiscard]] std::vector<Received> received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }
  /// Once there are so many, or after half a minute.
  std::vector<Received> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, std::chrono::seconds(30), [&] { return received_.size() >= count; });
    return received_;
  }

  static std::string status(const std::string& line, const std::string& headers = "") {
    return "HTTP/1.1 " + line + "\r\n" + headers + "Content-Length: 2\r\n\r\nok";
  }

 private:
  using Socket = boost::asio::ip::tcp::socket;
  static constexpr auto kTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

  boost::asio::awaitable<void> accept() {
    for (;;) {
      auto [error, socket] = co_await acceptor_.async_accept(kTuple);
      if (error) co_return;
      if (tls_) boost::asio::co_spawn(io_, serve_tls(std::move(socket)), boost::asio::detached);
      else boost::asio::co_spawn(io_, serve_plain(std::move(socket)), boost::asio::detached);
    }
  }
  boost::asio::awaitable<void> serve_plain(Socket socket) { co_await serve(socket); }
  boost::asio::awaitable<void> serve_tls(Socket socket) {
    boost::asio::ssl::stream<Socket> stream(std::move(socket), *tls_);
    const auto [error] = co_await stream.async_handshake(boost::asio::ssl::stream_base::server, kTuple);
    if (!error) co_await serve(stream);
  }
  template <class Stream>
  boost::asio::awaitable<void> serve(Stream& stream) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> request;
    const auto [error, bytes] = co_await http::async_read(stream, buffer, request, kTuple);
    if (error) co_return;
    Received message{std::string(request.method_string()), std::string(request.target()), request.body(), {}};
    for (const auto& field : request) {
      std::string name(field.name_string());
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      message.headers[name] = std::string(field.value());
    }
    std::size_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = received_.size();
      received_.push_back(message);
    }
    arrived_.notify_all();
    const std::string text = answer_(message, number);
    if (!text.empty()) {
      co_await boost::asio::async_write(stream, boost::asio::buffer(text), kTuple);
      co_return;
    }
    boost::asio::steady_timer for_ever(io_, boost::asio::steady_timer::time_point::max());
    co_await for_ever.async_wait(kTuple);
  }

  const Answer answer_;
  boost::asio::io_context io_{1};
  std::optional<boost::asio::ssl::context> tls_;
  boost::asio::ip::tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Received> received_;
  std::thread thread_;
};

}  // namespace bailiff::server::testing
