#pragma once
// Header fields that the API understands, as pure functions over their texts.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace bailiff::server {

/// ASCII only, as header names and tokens are.
[[nodiscard]] bool equals_ignoring_case(std::string_view a, std::string_view b);

/// `wait` of Prefer (RFC 7240): whole seconds, at most `longest`. Nothing where it is absent or not a number: a preference is never an
/// error.
[[nodiscard]] std::optional<std::chrono::seconds> preferred_wait(std::string_view prefer, std::chrono::seconds longest);

struct ByteRange {
  std::uint64_t first = 0, length = 0;
};
struct WholeBody {};
struct Unsatisfiable {};
/// Range (RFC 9110 section 14): one range of bytes within `total`. What is malformed, of another unit or of several ranges is ignored, as a
/// server may: the whole body.
[[nodiscard]] std::variant<WholeBody, ByteRange, Unsatisfiable> parse_range(std::string_view range, std::uint64_t total);

/// A strong entity tag of a body: quoted hash of its bytes.
[[nodiscard]] std::string entity_tag(std::string_view body);
/// If-None-Match against a tag, by weak comparison (RFC 9110 section 13.1.2).
[[nodiscard]] bool matches_tag(std::string_view if_none_match, std::string_view tag);

/// Whether Accept allows the media type ("application/json").
[[nodiscard]] bool accepts(std::string_view accept, std::string_view media_type);
/// Whether Content-Type says JSON in UTF-8: application/json or application/<x>+json.
[[nodiscard]] bool is_json_type(std::string_view content_type);

/// Whether Origin (RFC 6454) names the server that Host does; true where there is no Origin: then no browser sent it for a page.
[[nodiscard]] bool is_same_origin(const std::optional<std::string>& origin, const std::optional<std::string>& host);

/// "sha256:<hex>"
[[nodiscard]] std::string sha256_digest(std::string_view bytes);

/// IMF-fixdate (RFC 9110 section 5.6.7) of a Unix time.
[[nodiscard]] std::string http_date(std::int64_t unix_seconds);

}  // namespace bailiff::server
