#pragma once
// A plain HTTP client for tests: one request, one answer, every wait bounded.
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bailiff::system_tests {

struct HttpAnswer {
  long status = 0;  // 0: no answer; `body` has the reason
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  /// The body as JSON; null where it is none.
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class HttpClient {
 public:
  explicit HttpClient(std::string base_url) : base_url_(std::move(base_url)) {}
  HttpAnswer get(const std::string& path, const std::vector<std::string>& headers = {}) const { return send("GET", path, "", headers); }
  HttpAnswer post(const std::string& path, const nlohmann::json& body, const std::vector<std::string>& headers = {}) const {
    return send("POST", path, body.is_null() ? "" : body.dump(), headers);
  }
  HttpAnswer remove(const std::string& path, const std::vector<std::string>& headers = {}) const {
    return send("DELETE", path, "", headers);
  }
  /// POST of a file's bytes.
  HttpAnswer post_bytes(const std::string& path, const std::string& bytes, std::vector<std::string> headers = {}) const {
    headers.emplace_back("Content-Type: application/octet-stream");
    return send("POST", path, bytes, std::move(headers));
  }
  [[nodiscard]] const std::string& url() const { return base_url_; }

 private:
  HttpAnswer send(const char* method, const std::string& path, const std::string& body, std::vector<std::string> headers) const;
  std::string base_url_;
};

}  // namespace bailiff::system_tests
