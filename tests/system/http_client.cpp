#include "tests/system/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>

namespace bailiff::system_tests {
namespace {

constexpr long kTimeoutSeconds = 100;

std::size_t append_body(char* data, std::size_t size, std::size_t count, void* answer) {
  static_cast<HttpAnswer*>(answer)->body.append(data, size * count);
  return size * count;
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* answer) {
  const std::string line(data, size * count);
  const auto colon = line.find(':');
  if (colon != std::string::npos) {
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto from = line.find_first_not_of(' ', colon + 1), to = line.find_last_not_of("\r\n");
    static_cast<HttpAnswer*>(answer)->headers[name] = from == std::string::npos || from > to ? "" : line.substr(from, to + 1 - from);
  }
  return size * count;
}

}  // namespace

HttpAnswer HttpClient::send(const char* method, const std::string& path, const std::string& body, std::vector<std::string> headers) const {
  // One handle a thread keeps its connection open between requests.
  static thread_local const std::unique_ptr<CURL, void (*)(CURL*)> handle(curl_easy_init(), &curl_easy_cleanup);
  CURL* curl = handle.get();
  curl_easy_reset(curl);
  HttpAnswer answer;
  curl_slist* list = nullptr;
  const auto is_type = [](const std::string& header) { return header.starts_with("Content-Type:"); };
  if (std::ranges::none_of(headers, is_type)) headers.push_back("Content-Type: application/json");
  headers.push_back("Expect:");
  for (const auto& header : headers) list = curl_slist_append(list, header.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, (base_url_ + path).c_str());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
  if (std::string_view(method) == "POST") {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body.c_str());
  }
  if (std::string_view(method) == "DELETE") curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
  else answer.body = curl_easy_strerror(code);
  curl_slist_free_all(list);
  return answer;
}

}  // namespace bailiff::system_tests
