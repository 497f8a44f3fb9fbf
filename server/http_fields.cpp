#include "server/http_fields.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace bailiff::server {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The parts between separators that stand outside quoted strings, trimmed.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') ++i;
    else if (text[i] == '"') quoted = !quoted;
    else if (text[i] == separator && !quoted) {
      parts.push_back(trimmed(text.substr(start, i - start)));
      start = i + 1;
    }
  }
  parts.push_back(trimmed(text.substr(start)));
  return parts;
}

/// Digits only; what is too large for 64 bits is the largest number, since every use compares it with a bound.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc::result_out_of_range ? UINT64_MAX : number;
}

/// Name and value of "name=value", the value without its quotes.
std::pair<std::string_view, std::string_view> parameter(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return {text, {}};
  auto value = trimmed(text.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  return {trimmed(text.substr(0, equals)), value};
}

std::array<unsigned char, 32> sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned length = digest.size();
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return digest;
}

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

/// How well a media range fits: 3 exact, 2 "type/*", 1 "*/*", 0 not at all.
int fit(std::string_view range, std::string_view type) {
  if (equals_ignoring_case(range, type)) return 3;
  if (range == "*/*" || range == "*") return 1;
  const auto slash = type.find('/');
  return range.ends_with("/*") && equals_ignoring_case(range.substr(0, range.size() - 2), type.substr(0, slash)) ? 2 : 0;
}

/// q=0, q=0.0 … refuse; everything else accepts.
bool is_zero_quality(std::string_view q) { return !q.empty() && q.find_first_not_of("0.") == std::string_view::npos && q.front() == '0'; }

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

std::optional<std::chrono::seconds> preferred_wait(std::string_view prefer, std::chrono::seconds longest) {
  for (const auto preference : split(prefer, ',')) {
    const auto [name, value] = parameter(split(preference, ';').front());
    if (!equals_ignoring_case(name, "wait")) continue;
    const auto seconds = parse_number(value);
    if (!seconds) return std::nullopt;
    return std::chrono::seconds{std::min<std::uint64_t>(*seconds, static_cast<std::uint64_t>(longest.count()))};
  }
  return std::nullopt;
}

std::variant<WholeBody, ByteRange, Unsatisfiable> parse_range(std::string_view range, std::uint64_t total) {
  const auto equals = range.find('=');
  if (equals == std::string_view::npos || !equals_ignoring_case(trimmed(range.substr(0, equals)), "bytes")) return WholeBody{};
  const auto spec = trimmed(range.substr(equals + 1));
  const auto dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return WholeBody{};
  const auto first_text = trimmed(spec.substr(0, dash)), last_text = trimmed(spec.substr(dash + 1));
  const auto first = parse_number(first_text), last = parse_number(last_text);
  if (first_text.empty()) {
    if (!last) return WholeBody{};
    if (*last == 0 || total == 0) return Unsatisfiable{};
    const auto length = std::min(*last, total);
    return ByteRange{total - length, length};
  }
  if (!first || (!last_text.empty() && !last) || (last && *last < *first)) return WholeBody{};
  if (*first >= total) return Unsatisfiable{};
  return ByteRange{*first, std::min(last.value_or(UINT64_MAX), total - 1) - *first + 1};
}

std::string entity_tag(std::string_view body) {
  // 128 bits are plenty against accident, and a tag guards nothing.
  return '"' + hex(sha256(body).data(), 16) + '"';
}

bool matches_tag(std::string_view if_none_match, std::string_view tag) {
  const auto opaque = [](std::string_view text) { return text.starts_with("W/") ? text.substr(2) : text; };
  return std::ranges::any_of(split(if_none_match, ','), [&](auto one) { return one == "*" || opaque(one) == opaque(tag); });
}

bool accepts(std::string_view accept, std::string_view media_type) {
  if (trimmed(accept).empty()) return true;
  int best = 0;
  bool allowed = false;
  for (const auto item : split(accept, ',')) {
    const auto parts = split(item, ';');
    const int fitness = fit(parts.front(), media_type);
    if (fitness <= best) continue;
    best = fitness;
    allowed = std::ranges::none_of(parts, [](auto part) {
      const auto [name, value] = parameter(part);
      return equals_ignoring_case(name, "q") && is_zero_quality(value);
    });
  }
  return allowed;
}

bool is_json_type(std::string_view content_type) {
  const auto parts = split(content_type, ';');
  std::string type(parts.front());
  std::ranges::transform(type, type.begin(), lower);
  if (type != "application/json" && !(type.starts_with("application/") && type.ends_with("+json"))) return false;
  return std::ranges::all_of(parts, [](auto part) {
    const auto [name, value] = parameter(part);
    return !equals_ignoring_case(name, "charset") || equals_ignoring_case(value, "utf-8") || equals_ignoring_case(value, "us-ascii");
  });
}

bool is_same_origin(const std::optional<std::string>& origin, const std::optional<std::string>& host) {
  if (!origin) return true;
  for (const auto& [scheme, default_port] : {std::pair{"http://", ":80"}, {"https://", ":443"}}) {
    if (!origin->starts_with(scheme)) continue;
    const auto without_default = [&](std::string_view authority) {
      return authority.ends_with(default_port) ? authority.substr(0, authority.size() - std::string_view(default_port).size()) : authority;
    };
    const auto named = without_default(std::string_view(*origin).substr(std::string_view(scheme).size()));
    return host && !named.empty() && equals_ignoring_case(named, without_default(*host));
  }
  return false;
}

std::string sha256_digest(std::string_view bytes) {
  const auto digest = sha256(bytes);
  return "sha256:" + hex(digest.data(), digest.size());
}

std::string http_date(std::int64_t unix_seconds) {
  using namespace std::chrono;
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const sys_seconds instant{seconds{unix_seconds}};
  const auto day = floor<days>(instant);
  const year_month_day date{day};
  const hh_mm_ss time{instant - day};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays.at(weekday{day}.c_encoding()), static_cast<unsigned>(date.day()),
                     kMonths.at(static_cast<unsigned>(date.month()) - 1), static_cast<int>(date.year()), time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

}  // namespace bailiff::server
