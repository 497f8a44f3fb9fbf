#include "judge/compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace bailiff::judge {
namespace {

constexpr std::size_t kContextBytes = 20;  // shown before a difference that lies deep inside a long token

// Whether a decimal number that no double can hold is a tiny one. Only the position of its first significant digit matters:
// what is out of range is hundreds of digits away from 1.
bool is_tiny(std::string_view number) {
  const std::size_t exponent_at = std::min(number.find_first_of("eE"), number.size());
  const std::string_view mantissa = number.substr(0, exponent_at);
  if (exponent_at < number.size()) {
    // The exponent decides unless the mantissa is as long as it is deep; its sign is all that is needed then.
    const std::string_view exponent = number.substr(exponent_at + 1);
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    const std::size_t digit = mantissa.find_first_of("123456789");
    if (digit == std::string_view::npos) return true;
    const std::int64_t lead = digit < point ? static_cast<std::int64_t>(point - digit) : -static_cast<std::int64_t>(digit - point);
    const std::string_view unsigned_exponent = exponent.substr(exponent.starts_with('+') ? 1 : 0);
    std::int64_t power = 0;
    const auto parsed = std::from_chars(unsigned_exponent.data(), unsigned_exponent.data() + unsigned_exponent.size(), power);
    if (parsed.ec != std::errc{}) return exponent.starts_with('-');
    // Compared rather than added: the sum of two such numbers may not fit.
    return power < -lead;
  }
  return mantissa.substr(0, mantissa.find('.')).find_first_of("123456789") == std::string_view::npos;
}

void append_escaped(std::string& out, char c) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '"' || c == '\\') {
    out += '\\';
    out += c;
  } else if (byte >= 0x20 && byte < 0x7F) {
    out += c;
  } else {
    out += "\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

}  // namespace

std::optional<Piece> Tokens::next() {
  std::size_t start = 0;
  while (start < rest_.size() && is_space(rest_[start])) line_ += rest_[start++] == '\n' ? 1 : 0;
  if (start == rest_.size()) {
    rest_ = {};
    return std::nullopt;
  }
  std::size_t end = start;
  while (end < rest_.size() && !is_space(rest_[end])) ++end;
  const Piece token{rest_.substr(start, end - start), line_};
  rest_.remove_prefix(end);
  return token;
}

Lines::Lines(std::string_view text) : rest_(text) {
  while (!rest_.empty() && is_space(rest_.back())) rest_.remove_suffix(1);
}

std::optional<Piece> Lines::next() {
  if (rest_.empty()) return std::nullopt;
  std::string_view line = rest_.substr(0, rest_.find('\n'));
  rest_.remove_prefix(std::min(line.size() + 1, rest_.size()));
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  return Piece{line, ++line_};
}

std::optional<double> decimal_number(std::string_view token) {
  // from_chars knows no plus sign; behind one there must be no second sign.
  if (token.starts_with('+')) {
    token.remove_prefix(1);
    if (token.starts_with('-')) return std::nullopt;
  }
  double value = 0;
  const char* const end = token.data() + token.size();
  const auto parsed = std::from_chars(token.data(), end, value, std::chars_format::general);
  if (parsed.ptr != end || parsed.ec == std::errc::invalid_argument) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) return is_tiny(token) ? std::optional<double>(0.0) : std::nullopt;
  return value;
}

std::size_t first_difference(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

std::string excerpt(std::string_view text, std::size_t around) {
  std::size_t start = 0;
  if (text.size() > kExcerptBytes && around > kExcerptBytes - kContextBytes) start = std::min(around, text.size()) - kContextBytes;
  const std::string_view shown = text.substr(start, kExcerptBytes);
  std::string out = start > 0 ? "\"..." : "\"";
  for (const char c : shown) append_escaped(out, c);
  out += start + shown.size() < text.size() ? "...\"" : "\"";
  return out;
}

}  // namespace bailiff::judge
