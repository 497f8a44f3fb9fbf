#include "cli/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace bailiff::cli {
namespace {

struct Received {
  HttpAnswer answer;
  bool too_long = false;
};

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& received = *static_cast<Received*>(user);
  const std::size_t bytes = size * count;
  received.too_long = received.answer.body.size() + bytes > kMaxAnswerBytes;
  if (received.too_long) return 0;  // libcurl ends the exchange
  received.answer.body.append(data, bytes);
  return bytes;
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* user) {
  static constexpr std::string_view kRetryAfter = "retry-after:";
  auto& answer = static_cast<Received*>(user)->answer;
  std::string_view line(data, size * count);
  const bool same = line.size() > kRetryAfter.size() &&
                    std::ranges::equal(line.substr(0, kRetryAfter.size()), kRetryAfter,
                                       [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
  if (same) {
    line.remove_prefix(kRetryAfter.size());
    const auto blank = [](char c) { return c == ' ' || c == '\r' || c == '\n' || c == '\t'; };
    while (!line.empty() && blank(line.front())) line.remove_prefix(1);
    while (!line.empty() && blank(line.back())) line.remove_suffix(1);
    answer.retry_after = line;
  }
  return size * count;
}

/// A proxy from the environment cannot reach our own loopback.
constexpr const char* kNoProxy = "127.0.0.1,localhost,::1";

class HeaderList {
 public:
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  void add(const std::string& line) {
    if (curl_slist* longer = curl_slist_append(list_, line.c_str())) list_ = longer;
  }
  [[nodiscard]] curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

}  // namespace

void HttpClient::CurlDelete::operator()(void* curl) const { curl_easy_cleanup(curl); }

Expected<HttpClient> HttpClient::make(std::string server, std::string key) {
  if (!server.starts_with("http://") && !server.starts_with("https://"))
    return failure(kExitUsage, fmt::format("\"{}\" is no server's URL", server), "write it as http://127.0.0.1:8080");
  while (server.ends_with('/')) server.pop_back();
  if (std::ranges::any_of(key, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; }))
    return failure(kExitUsage, "BAILIFF_API_KEY holds a blank or control character");
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return failure(kExitInternal, "libcurl cannot be started");
  void* curl = curl_easy_init();
  if (curl == nullptr) return failure(kExitInternal, "libcurl cannot be started");
  return HttpClient(std::move(server), std::move(key), curl);
}

Expected<HttpAnswer> HttpClient::exchange(const HttpRequest& request) {
  CURL* curl = curl_.get();
  curl_easy_reset(curl);
  Received received;
  HeaderList headers;
  for (const std::string& line : request.headers) headers.add(line);
  headers.add("Accept: " + request.accept);
  if (!key_.empty()) headers.add("Authorization: Bearer " + key_);
  const std::string url = server_ + request.path;
  char problem[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOPROXY, kNoProxy);
  // As OpenSSL takes it for the WebSockets, and curl's own program.
  if (const char* authorities = std::getenv("SSL_CERT_FILE")) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, static_cast<long>(request.at_most.count()));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "bailiff/" BAILIFF_VERSION);
  if (!request.body.empty()) {
    headers.add("Content-Type: application/json");
    headers.add("Expect:");  // the server's answer to a refused body comes soon enough without a round of 100-continue
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  } else if (request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &received);

  const CURLcode code = curl_easy_perform(curl);
  if (received.too_long)
    return failure(kExitInternal, fmt::format("the server's answer is larger than {} MiB", kMaxAnswerBytes / core::kMiB),
                   "fetch the outputs one by one");
  if (code != CURLE_OK)
    return failure(kExitUnavailable, fmt::format("no answer from {}: {}", server_, *problem != '\0' ? problem : curl_easy_strerror(code)),
                   "start a server with script/server, or name yours by --server URL or BAILIFF_SERVER");
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &received.answer.status);
  const char* type = nullptr;
  curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) received.answer.content_type = type;
  return std::move(received.answer);
}

Expected<core::Json> HttpClient::json(const HttpRequest& request) {
  auto answer = exchange(request);
  if (!answer) return std::unexpected(std::move(answer.error()));
  if (answer->status < 200 || answer->status > 299) return std::unexpected(failure_of_answer(*answer));
  auto document = core::Json::parse(answer->body, nullptr, false);
  if (document.is_discarded())
    return failure(kExitInternal, fmt::format("{} answers with something that is no JSON", server_), "is it a Bailiff server?");
  return document;
}

Expected<ServerAddress> parse_server(const std::string& url) {
  const auto faulty = [&] {
    return failure(kExitUsage, fmt::format("\"{}\" is no server's URL", url), "write it as http://127.0.0.1:8080");
  };
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), &curl_url_cleanup);
  const auto part = [&](CURLUPart what, unsigned flags) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), what, &text, flags) != CURLUE_OK) return std::string();
    std::string copy(text);
    curl_free(text);
    return copy;
  };
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return faulty();
  const std::string scheme = part(CURLUPART_SCHEME, 0), own_port = part(CURLUPART_PORT, 0);
  if (scheme != "http" && scheme != "https") return faulty();
  ServerAddress address{scheme == "https", part(CURLUPART_HOST, 0), part(CURLUPART_PORT, CURLU_DEFAULT_PORT), "", part(CURLUPART_PATH, 0)};
  address.host_header = own_port.empty() ? address.host : address.host + ":" + own_port;
  // An IPv6 address is in brackets in a URL only.
  if (address.host.starts_with('[')) address.host = address.host.substr(1, address.host.size() - 2);
  while (address.path.ends_with('/')) address.path.pop_back();
  return address;
}

std::string percent_encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool unreserved =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("-._~").contains(c);
    if (unreserved) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

Failure failure_of_answer(const HttpAnswer& answer) {
  Failure failure;
  if (answer.content_type.starts_with("application/problem+json")) {
    failure.problem = core::Json::parse(answer.body, nullptr, false);
    if (!failure.problem.is_object()) failure.problem = nullptr;
  }
  const auto member = [&](const char* key) {
    const bool there = failure.problem.is_object() && failure.problem.contains(key) && failure.problem[key].is_string();
    return there ? failure.problem[key].get<std::string>() : std::string();
  };
  const std::string title = member("title"), detail = member("detail");
  failure.what = title.empty() ? fmt::format("the server answers with status {}", answer.status) : title;
  if (!detail.empty() && detail != title) failure.what += ": " + detail;
  switch (answer.status) {
    case 401:
    case 403:
      failure.code = kExitNoPermission;
      failure.next = "set BAILIFF_API_KEY to a key that may do this";
      break;
    case 404:
      failure.code = kExitNotFound;
      failure.next = "`bailiff jobs` lists the jobs that the server knows";
      break;
    case 429:
    case 503:
      failure.code = kExitTryLater;
      failure.next = answer.retry_after.empty() ? "try again later" : fmt::format("try again in {} s", answer.retry_after);
      break;
    default:
      failure.code = answer.status >= 400 && answer.status < 500 ? kExitRefused : kExitInternal;
      if (answer.status >= 500) failure.next = "the server's log tells why";
  }
  return failure;
}

}  // namespace bailiff::cli
