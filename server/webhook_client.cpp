#include "server/webhook_client.h"

#include <fmt/core.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include "core/clock.h"

namespace bailiff::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {

constexpr std::uint32_t kMostAnswerHeaderBytes = 16 * 1024;
constexpr std::size_t kMostAnswerBytes = 64 * 1024;
constexpr auto kDiscardTime = std::chrono::seconds(1);  // for the rest of an answer: a receiver that is cut off logs an error
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

using HttpRequest = http::request<http::string_body>;

/// Among those under way for as long as it lives.
template <class T>
class Listed {
 public:
  Listed(std::set<T*>& all, T& one) : all_(all), one_(&one) { all_.insert(one_); }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  ~Listed() { all_.erase(one_); }

 private:
  std::set<T*>& all_;
  T* one_;
};

std::string why(std::string_view doing, const error_code& error) {
  if (error == beast::error::timeout) return fmt::format("{}: the time for an attempt was over", doing);
  if (error == http::error::end_of_stream || error == asio::error::eof) return fmt::format("{}: the receiver closed the connection", doing);
  return fmt::format("{}: {}", doing, error.message());
}

/// OpenSSL's own reason tells more than that the certificate was not accepted.
std::string why_not_tls(SSL* connection, const error_code& error) {
  const long verdict = ::SSL_get_verify_result(connection);
  if (verdict == X509_V_OK) return why("TLS", error);
  return fmt::format("the receiver's certificate is refused: {}", ::X509_verify_cert_error_string(verdict));
}

/// The certificate must be this host's. SNI is for names only (RFC 6066).
bool expect_host(SSL* connection, const std::string& host) {
  error_code is_name;
  (void)asio::ip::make_address(host, is_name);
  if (!is_name) return ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(connection), host.c_str()) == 1;
  return ::SSL_set1_host(connection, host.c_str()) == 1 && SSL_set_tlsext_host_name(connection, host.c_str()) == 1;
}

HttpRequest request_of(const WebhookTarget& target, const WebhookClient::Headers& headers, std::string body) {
  HttpRequest request(http::verb::post, target.path, 11);
  request.set(http::field::host, target.authority);
  request.set(http::field::user_agent, "bailiff/" BAILIFF_VERSION);
  request.set(http::field::content_type, "application/json");
  request.set(http::field::connection, "close");
  for (const auto& [name, value] : headers) request.set(name, value);
  request.body() = std::move(body);
  request.prepare_payload();
  return request;
}

std::string fault_of_status(unsigned status) {
  if (status >= 200 && status < 300) return {};
  if (status >= 300 && status < 400) return fmt::format("the receiver answered {}; redirects are not followed", status);
  return fmt::format("the receiver answered {}", status);
}

template <class Stream>
asio::awaitable<void> exchange(Stream& stream, const HttpRequest& request, WebhookAnswer& answer) {
  const auto [unsent, written] = co_await http::async_write(stream, request, kTuple);
  if (unsent) {
    answer.error = why("cannot send", unsent);
    co_return;
  }
  beast::flat_buffer buffer(kMostAnswerBytes);
  http::response_parser<http::string_body> parser;
  parser.header_limit(kMostAnswerHeaderBytes);
  parser.body_limit(boost::none);  // a length that is announced is no fault; what is read of it is bounded below
  const auto [none, header_bytes] = co_await http::async_read_header(stream, buffer, parser, kTuple);
  if (none) {
    answer.error = why("no answer", none);
    co_return;
  }
  const auto& head = parser.get();
  answer.status = head.result_int();
  answer.error = fault_of_status(answer.status);
  const bool asks_to_wait = answer.status == 429 || answer.status == 503;
  if (const auto retry = head.find(http::field::retry_after); asks_to_wait && retry != head.end())
    answer.retry_after = parse_retry_after(std::string_view(retry->value()), core::unix_us() / 1'000'000);
  beast::get_lowest_layer(stream).expires_after(kDiscardTime);
  for (std::size_t read = 0; read < kMostAnswerBytes && !parser.is_done();) {
    const auto [ended, bytes] = co_await http::async_read_some(stream, buffer, parser, kTuple);
    if (ended) break;
    read += bytes;
  }
}

}  // namespace

/// getaddrinfo(3) cannot be called off: where nobody waits for it any more, it ends by itself.
struct WebhookClient::Lookup {
  explicit Lookup(asio::io_context& io) : resolver(io), done(io.get_executor()) {}
  asio::ip::tcp::resolver resolver;
  WakeUp done;
  bool over = false;
  error_code error;
  Endpoints found;
};

core::Result<std::unique_ptr<WebhookClient>> WebhookClient::make(asio::io_context& io, const std::string& ca_file, WebhookRules rules) {
  std::unique_ptr<WebhookClient> client(new WebhookClient(io, rules));
  error_code failed;
  client->tls_.set_default_verify_paths(failed);
  if (failed) return core::error(core::ErrorKind::invalid, "cannot use the system's certificates: " + failed.message());
  if (!ca_file.empty()) client->tls_.load_verify_file(ca_file, failed);
  if (failed) return core::error(core::ErrorKind::invalid, "webhook.ca_file: cannot read " + ca_file + ": " + failed.message());
  return client;
}

WebhookClient::WebhookClient(asio::io_context& io, WebhookRules rules) : io_(io), rules_(rules), tls_(ssl::context::tls_client) {
  tls_.set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  tls_.set_verify_mode(ssl::verify_peer);
}

void WebhookClient::give_up() {
  given_up_ = true;
  for (auto* connection : connections_) connection->close();
  for (auto* lookup : lookups_) lookup->all();
}

asio::awaitable<WebhookClient::Endpoints> WebhookClient::find(const WebhookTarget& target, Time deadline, WebhookAnswer& answer) {
  const auto lookup = std::make_shared<Lookup>(io_);
  auto take = [lookup](const error_code& error, const asio::ip::tcp::resolver::results_type& results) {
    lookup->over = true;
    lookup->error = error;
    for (const auto& entry : results) lookup->found.push_back(entry.endpoint());
    lookup->done.all();
  };
  lookup->resolver.async_resolve(target.host, std::to_string(target.port), asio::ip::tcp::resolver::numeric_service, std::move(take));
  const Listed<WakeUp> listed(lookups_, lookup->done);
  if (!given_up_) co_await lookup->done.wait_until(deadline);
  Endpoints allowed;
  if (given_up_) {
    answer.error = "the server ends";
  } else if (!lookup->over) {
    answer.error = "cannot look up the name: the time for an attempt was over";
  } else if (lookup->error) {
    answer.error = why("cannot look up the name", lookup->error);
  } else {
    for (const auto& endpoint : lookup->found)
      if (rules_.allow_private || is_public(endpoint.address())) allowed.push_back(endpoint);
    answer.hopeless = allowed.empty();
    if (allowed.empty()) answer.error = "its name has no public address; webhooks go to public addresses only";
  }
  co_return allowed;
}

asio::awaitable<WebhookAnswer> WebhookClient::post(WebhookTarget target, Headers headers, std::string body,
                                                   std::chrono::milliseconds at_most) {
  const auto deadline = steady_clock::now() + at_most;
  WebhookAnswer answer;
  const auto endpoints = co_await find(target, deadline, answer);
  if (endpoints.empty()) co_return answer;
  const HttpRequest request = request_of(target, headers, std::move(body));
  beast::ssl_stream<beast::tcp_stream> stream(io_, tls_);
  auto& connection = beast::get_lowest_layer(stream);
  const Listed<beast::tcp_stream> listed(connections_, connection);
  connection.expires_at(deadline);
  const auto [unconnected, endpoint] = co_await connection.async_connect(endpoints, kTuple);
  if (unconnected) {
    answer.error = why("cannot connect", unconnected);
    co_return answer;
  }
  if (!target.tls) {
    co_await exchange(connection, request, answer);
    co_return answer;
  }
  if (!expect_host(stream.native_handle(), target.host)) {
    answer.error = "TLS: the host's name cannot be used";
    co_return answer;
  }
  const auto [unsafe] = co_await stream.async_handshake(ssl::stream_base::client, kTuple);
  if (unsafe) answer.error = why_not_tls(stream.native_handle(), unsafe);
  else co_await exchange(stream, request, answer);
  co_return answer;
}

}  // namespace bailiff::server
