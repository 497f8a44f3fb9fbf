#include "server/trace_context.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdint>

namespace bailiff::server {
namespace {

// version "-" trace-id "-" parent-id "-" flags
constexpr std::size_t kVersion = 2, kTraceId = 32, kParentId = 16, kFlags = 2;
constexpr std::size_t kTraceAt = kVersion + 1, kParentAt = kTraceAt + kTraceId + 1, kFlagsAt = kParentAt + kParentId + 1;
constexpr std::size_t kBytes = kFlagsAt + kFlags;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == text.npos; }

}  // namespace

std::optional<std::string> traceparent_of(std::string_view header) {
  if (header.size() < kBytes) return std::nullopt;
  const auto version = header.substr(0, kVersion), trace = header.substr(kTraceAt, kTraceId);
  const auto parent = header.substr(kParentAt, kParentId), flags = header.substr(kFlagsAt, kFlags);
  for (const std::size_t dash : {kTraceAt, kParentAt, kFlagsAt})
    if (header[dash - 1] != '-') return std::nullopt;
  for (const auto part : {version, trace, parent, flags})
    if (!is_hex(part)) return std::nullopt;
  if (version == "ff" || is_zero(trace) || is_zero(parent)) return std::nullopt;
  // A later version may have more behind a dash.
  if (header.size() > kBytes && (version == "00" || header[kBytes] != '-')) return std::nullopt;
  return fmt::format("00-{}-{}-{}", trace, parent, flags);
}

std::string next_span(std::string_view traceparent) {
  std::uint64_t span = 0;
  while (span == 0)
    if (::getrandom(&span, sizeof span, 0) != sizeof span) span = 0;
  return fmt::format("{}{:016x}-{}", traceparent.substr(0, kParentAt), span, traceparent.substr(kFlagsAt, kFlags));
}

}  // namespace bailiff::server
