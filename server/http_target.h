#pragma once
// A request target (RFC 9112 section 3.2) taken apart: path segments and query parameters, decoded.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bailiff::server {

struct Target {
  std::vector<std::string> segments;                        // "/v1/jobs/x" → {"v1", "jobs", "x"}; "/" → {}
  std::vector<std::pair<std::string, std::string>> query;   // in order; a name may stand more than once
};

inline constexpr std::size_t kMaxQueryParameters = 100;

/// %XX decoded; nothing where an escape is broken or there is a NUL, escaped or not. `plus_is_space` for queries.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space);
/// Origin form or absolute form; nothing where it is neither or has a broken escape. A slash that was escaped stays inside its segment.
[[nodiscard]] std::optional<Target> parse_target(std::string_view target);

}  // namespace bailiff::server
