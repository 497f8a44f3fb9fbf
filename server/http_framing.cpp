#include "server/http_framing.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "server/http_fields.h"

namespace bailiff::server {
namespace {

namespace http = boost::beast::http;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

Problem malformed(const char* detail) { return {400, detail, {}, {}}; }

}  // namespace

std::optional<Problem> framing_fault(const RequestHead& head) {
  if (static_cast<std::size_t>(std::distance(head.begin(), head.end())) > kMaxHeaderFields)
    return Problem{431, fmt::format("the request has more than {} header fields", kMaxHeaderFields), {}, {}};
  const auto lengths = head.count(http::field::content_length), codings = head.count(http::field::transfer_encoding);
  if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0)) return malformed("the request tells its length more than once");
  if (lengths == 1) {
    const auto length = view(head[http::field::content_length]);
    const bool digits = std::ranges::all_of(length, [](char c) { return c >= '0' && c <= '9'; });
    if (length.empty() || !digits) return malformed("Content-Length is not a number");
  }
  if (codings == 1 && (head.version() < 11 || !equals_ignoring_case(view(head[http::field::transfer_encoding]), "chunked")))
    return malformed("no Transfer-Encoding but chunked is understood, and only in HTTP/1.1");
  const auto hosts = head.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && head.version() >= 11)) return malformed("exactly one Host field must be given");
  const auto expect = view(head[http::field::expect]);
  if (!expect.empty() && !equals_ignoring_case(expect, "100-continue")) return Problem{417, "only 100-continue can be expected", {}, {}};
  return std::nullopt;
}

Request request_of(const RequestHead& head) {
  Request request;
  request.method = view(head.method_string());
  request.target = view(head.target());
  for (const auto& field : head) request.headers.emplace_back(view(field.name_string()), view(field.value()));
  return request;
}

std::string response_head(const Response& response, std::uint64_t length, bool keep_alive, bool old_version) {
  using namespace std::chrono;
  const auto now = duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nServer: bailiff\r\n", response.status, status_title(response.status), http_date(now));
  for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (!response.content_type.empty()) head += fmt::format("Content-Type: {}\r\nX-Content-Type-Options: nosniff\r\n", response.content_type);
  if (response.stream && !old_version) head += "Transfer-Encoding: chunked\r\n";
  if (!response.stream && response.status != 204 && response.status != 304) head += fmt::format("Content-Length: {}\r\n", length);
  if (!keep_alive) head += "Connection: close\r\n";
  if (keep_alive && old_version) head += "Connection: keep-alive\r\n";
  return head + "\r\n";
}

}  // namespace bailiff::server
