#pragma once
// What the command line names: files, limits with units, key=value pairs, directories of tests.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/failure.h"
#include "core/job.h"

namespace bailiff::cli {

inline constexpr std::size_t kMaxFileBytes = 256 * core::kMiB, kMaxTests = 1000;

/// All of a regular file, pipe or device, up to kMaxFileBytes. "-" is our own standard input.
[[nodiscard]] Expected<std::string> read_input(const std::string& path);
/// All that can be read from a descriptor, up to kMaxFileBytes; `name` is for the message.
[[nodiscard]] Expected<std::string> read_descriptor(int fd, const std::string& name);

/// "cpu_time_ms=2000", "memory_bytes=64M", "wall_time_ms=1.5s" into `limits`. Plain numbers are in the name's own unit; K M G (and KiB MiB
/// GiB) count in 1024, KB MB GB in 1000; ms s min are times.
[[nodiscard]] Expected<void> parse_limit(std::string_view assignment, core::LimitOverrides& limits);
/// The first limit that is below its floor or above its ceiling, as a failure that names both.
[[nodiscard]] Expected<void> check_limits(const core::LimitOverrides& limits);

/// "k=v" → {k, v}. The key must not be empty.
[[nodiscard]] Expected<std::pair<std::string, std::string>> parse_pair(std::string_view text, std::string_view option);

/// Pairs of *.in and *.out (or *.ans) in a directory, ordered as people count: 2 before 10. A test without an expected output has none.
[[nodiscard]] Expected<std::vector<core::TestSpec>> read_tests(const std::string& directory);

/// The extension without its dot, in lower case ("main.CPP" → "cpp"), which every language has as its name or alias.
[[nodiscard]] std::string extension(const std::string& path);

}  // namespace bailiff::cli
