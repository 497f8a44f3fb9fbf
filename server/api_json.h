#pragma once
// JSON text from a stranger → a value, with bounds on depth and count, and with duplicate keys reported.
#include <cstddef>
#include <expected>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "server/api_problem.h"

namespace bailiff::server {

inline constexpr std::size_t kMaxJsonDepth = 64;        // arrays and objects inside one another
inline constexpr std::size_t kMaxJsonValues = 200'000;  // in one text; keeps `[[],[],…]` from taking many times its size

struct ParsedJson {
  nlohmann::json value;
  std::vector<Fault> duplicates;  // keys that stand twice in one object; the first one's value is kept
};

/// RFC 8259, strictly: UTF-8 only, no lone surrogates, no NaN, no number that a double cannot hold. Anything else is a Problem with
/// status 400 that names the line and column.
[[nodiscard]] std::expected<ParsedJson, Problem> parse_json(std::string_view text);

/// `pointer` with one more reference token (RFC 6901 escapes).
[[nodiscard]] std::string pointer_to(std::string_view pointer, std::string_view token);

}  // namespace bailiff::server
