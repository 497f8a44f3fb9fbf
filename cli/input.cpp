#include "cli/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/fd.h"

namespace bailiff::cli {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};
constexpr auto kByteUnits = std::to_array<Unit>({{"", 1},
                                                 {"B", 1},
                                                 {"K", 1024},
                                                 {"KiB", 1024},
                                                 {"KB", 1e3},
                                                 {"M", 1048576},
                                                 {"MiB", 1048576},
                                                 {"MB", 1e6},
                                                 {"G", 1073741824},
                                                 {"GiB", 1073741824},
                                                 {"GB", 1e9}});
constexpr auto kTimeUnits = std::to_array<Unit>({{"", 1}, {"ms", 1}, {"s", 1e3}, {"min", 6e4}});
constexpr auto kNoUnits = std::to_array<Unit>({{"", 1}});

template <std::size_t N>
const Unit* find_unit(const std::array<Unit, N>& units, std::string_view suffix) {
  const auto found = std::ranges::find(units, suffix, &Unit::suffix);
  return found == units.end() ? nullptr : &*found;
}

const Unit* unit_of(std::string_view limit, std::string_view suffix) {
  if (limit.contains("_bytes")) return find_unit(kByteUnits, suffix);
  if (limit.ends_with("_ms")) return find_unit(kTimeUnits, suffix);
  return find_unit(kNoUnits, suffix);
}

std::string limit_names() {
  std::vector<std::string_view> names;
  for (const auto& field : core::kLimitFields) names.emplace_back(field.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// strverscmp(3) compares runs of digits by their value.
bool natural_less(const std::filesystem::path& a, const std::filesystem::path& b) { return ::strverscmp(a.c_str(), b.c_str()) < 0; }

}  // namespace

Expected<std::string> read_descriptor(int fd, const std::string& name) {
  std::string bytes;
  std::array<char, 64 * core::kKiB> chunk{};
  while (true) {
    const ssize_t count = ::read(fd, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure(kExitNoInput, fmt::format("{}: {}", name, std::strerror(errno)));
    if (count == 0) return bytes;
    bytes.append(chunk.data(), static_cast<std::size_t>(count));
    if (bytes.size() > kMaxFileBytes) return failure(kExitNoInput, fmt::format("{}: larger than {} MiB", name, kMaxFileBytes / core::kMiB));
  }
}

Expected<std::string> read_input(const std::string& path) {
  if (path == "-") return read_descriptor(STDIN_FILENO, "standard input");
  const core::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failure(kExitNoInput, fmt::format("{}: {}", path, std::strerror(errno)));
  return read_descriptor(fd.get(), path);
}

Expected<void> parse_limit(std::string_view assignment, core::LimitOverrides& limits) {
  const std::size_t equals = assignment.find('=');
  const std::string_view name = assignment.substr(0, equals);
  const std::string_view text = equals == std::string_view::npos ? std::string_view{} : assignment.substr(equals + 1);
  const auto index = core::limit_index(name);
  if (!index) return failure(kExitUsage, fmt::format("there is no limit \"{}\"", name), "limits are: " + limit_names());
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const Unit* unit = unit_of(name, {end, static_cast<std::size_t>(text.data() + text.size() - end)});
  const core::LimitField& field = core::kLimitFields[*index];
  const double value = unit == nullptr ? 0 : number * unit->factor * static_cast<double>(field.scale);
  // 2^53: above it a double is no exact count any more.
  if (code != std::errc() || unit == nullptr || !(value >= 0 && value <= 9007199254740992.0))
    return failure(kExitUsage, fmt::format("{}: \"{}\" is no amount", name, text), "write it as 2000, 64M or 1.5s");
  limits.values[*index] = static_cast<std::uint64_t>(std::llround(value));
  return {};
}

Expected<void> check_limits(const core::LimitOverrides& limits) {
  for (std::size_t i = 0; i < core::kLimitCount; ++i) {
    const core::LimitField& field = core::kLimitFields[i];
    if (!limits.values[i]) continue;
    const std::uint64_t order = field.order(*limits.values[i]);
    if (order >= field.order(field.floor) && order <= field.order(field.ceiling)) continue;
    const auto in_unit = [&](std::uint64_t value) { return static_cast<double>(value) / static_cast<double>(field.scale); };
    return failure(kExitUsage, fmt::format("{} = {} is out of bounds", field.name, in_unit(*limits.values[i])),
                   field.zero_is_none ? fmt::format("it may be 0 (none), or from {}", in_unit(field.floor))
                                      : fmt::format("it may be from {} to {}", in_unit(field.floor), in_unit(field.ceiling)));
  }
  return {};
}

Expected<std::pair<std::string, std::string>> parse_pair(std::string_view text, std::string_view option) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return failure(kExitUsage, fmt::format("{}: \"{}\" is not of the form key=value", option, text));
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

Expected<std::vector<core::TestSpec>> read_tests(const std::string& directory) {
  std::error_code code;
  std::vector<std::filesystem::path> inputs;
  for (std::filesystem::directory_iterator entry(directory, code), end; !code && entry != end; entry.increment(code))
    if (entry->path().extension() == ".in") inputs.push_back(entry->path());
  if (code) return failure(kExitNoInput, fmt::format("{}: {}", directory, code.message()));
  if (inputs.empty())
    return failure(kExitNoInput, fmt::format("{}: there are no *.in files", directory), "name each test's files 1.in and 1.out");
  if (inputs.size() > kMaxTests)
    return failure(kExitNoInput, fmt::format("{}: {} tests are more than {}", directory, inputs.size(), kMaxTests));
  std::ranges::sort(inputs, natural_less);
  std::vector<core::TestSpec> tests;
  for (auto path : inputs) {
    core::TestSpec test;
    test.name = path.stem().string();
    auto input = read_input(path.string());
    if (!input) return std::unexpected(std::move(input.error()));
    test.stdin_content.bytes = std::move(*input);
    for (const char* suffix : {".out", ".ans"}) {
      if (test.expected || !std::filesystem::exists(path.replace_extension(suffix), code)) continue;
      auto expected = read_input(path.string());
      if (!expected) return std::unexpected(std::move(expected.error()));
      test.expected = core::Content{std::move(*expected), std::nullopt};
    }
    tests.push_back(std::move(test));
  }
  return tests;
}

std::string extension(const std::string& path) {
  std::string text = std::filesystem::path(path).extension().string();
  if (!text.empty()) text.erase(0, 1);
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace bailiff::cli
