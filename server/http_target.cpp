#include "server/http_target.h"

namespace bailiff::server {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool parse_query(std::string_view text, Target& target) {
  while (!text.empty()) {
    const auto end = text.find('&');
    const auto item = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (item.empty()) continue;
    const auto equals = item.find('=');
    auto name = percent_decoded(item.substr(0, equals), true);
    auto value = percent_decoded(equals == std::string_view::npos ? std::string_view{} : item.substr(equals + 1), true);
    if (!name || !value || target.query.size() >= kMaxQueryParameters) return false;
    target.query.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

/// What follows "http://authority" of an absolute form.
std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto path = target.find_first_of("/?", scheme.size());
    return path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  return target;
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0') return std::nullopt;
    if (text[i] != '%') {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || high + low == 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

std::optional<Target> parse_target(std::string_view text) {
  text = origin_form(text);
  const auto mark = text.find('?');
  auto path = text.substr(0, mark);
  if (!path.starts_with('/') || text.find('#') != std::string_view::npos) return std::nullopt;
  Target target;
  path.remove_prefix(1);
  while (!path.empty()) {
    const auto slash = path.find('/');
    auto segment = percent_decoded(path.substr(0, slash), false);
    if (!segment) return std::nullopt;
    target.segments.push_back(std::move(*segment));
    // A path that ends in a slash has an empty last segment, which no route has.
    if (slash + 1 == path.size()) target.segments.emplace_back();
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  if (mark != std::string_view::npos && !parse_query(text.substr(mark + 1), target)) return std::nullopt;
  return target;
}

}  // namespace bailiff::server
