#pragma once
// One HTTP exchange at a time with a Bailiff server, by libcurl. Every exchange has a deadline, every answer a bound.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "cli/failure.h"

namespace bailiff::cli {

inline constexpr std::size_t kMaxAnswerBytes = 256 * 1024 * 1024;

struct HttpRequest {
  std::string method = "GET";
  std::string path{};                // from the server's root, with its query; percent-encoded
  std::string body{};                // JSON, sent where it is not empty
  std::vector<std::string> headers{};  // "Name: value"
  std::chrono::seconds at_most{30};  // for the whole exchange
  std::string accept = "application/json";  // the media type that a good answer may have
};

struct HttpAnswer {
  long status = 0;
  std::string content_type;
  std::string retry_after;  // empty: not there
  std::string body;
};

/// Not thread-safe.
class HttpClient {
 public:
  /// `server`: http:// or https:// URL. `key`: API key, empty for none.
  static Expected<HttpClient> make(std::string server, std::string key);
  HttpClient(HttpClient&&) noexcept = default;

  /// Any answer of the server, whatever its status. Fails where there is none.
  [[nodiscard]] Expected<HttpAnswer> exchange(const HttpRequest& request);
  /// The document of a 2xx answer; any other becomes a Failure that carries the problem document and says what to do.
  [[nodiscard]] Expected<core::Json> json(const HttpRequest& request);

 private:
  struct CurlDelete {
    void operator()(void* curl) const;
  };
  HttpClient(std::string server, std::string key, void* curl) : server_(std::move(server)), key_(std::move(key)), curl_(curl) {}
  std::string server_, key_;
  std::unique_ptr<void, CurlDelete> curl_;
};

/// A server's URL taken apart.
struct ServerAddress {
  bool tls = false;
  std::string host, port;
  std::string host_header;  // with the port where it is not the usual one
  std::string path;         // before every path of ours; without a slash at its end
};
[[nodiscard]] Expected<ServerAddress> parse_server(const std::string& url);

/// For one segment of a path or one value of a query: everything but unreserved characters encoded.
[[nodiscard]] std::string percent_encode(std::string_view text);
/// What a refused request means for the user.
[[nodiscard]] Failure failure_of_answer(const HttpAnswer& answer);

}  // namespace bailiff::cli
