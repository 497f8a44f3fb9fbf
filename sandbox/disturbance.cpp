#include "sandbox/disturbance.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

std::optional<std::uint64_t> number_at(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

/// A counter that went backwards (the kernel says that steal may) counted nothing.
std::optional<std::uint64_t> difference(const std::optional<std::uint64_t>& now, const std::optional<std::uint64_t>& before) {
  if (!now || !before) return std::nullopt;
  return *now < *before ? 0 : *now - *before;
}

core::Fd open_if_there(const char* path) {
  auto file = open_kernel_file(path, O_RDONLY);
  return file ? std::move(*file) : core::Fd();
}

/// The beginning of a file, of which only the first line is wanted; empty where it cannot be read.
std::string_view first_bytes(int fd, std::array<char, 256>& buffer) {
  const ssize_t bytes = pread(fd, buffer.data(), buffer.size(), 0);
  return {buffer.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0};
}

}  // namespace

HostCounts HostCounts::operator-(const HostCounts& before) const {
  return {difference(steal_ms, before.steal_ms), difference(cpu_pressure_us, before.cpu_pressure_us)};
}

HostCounters::HostCounters() : stat_(open_if_there("/proc/stat")), pressure_(open_if_there("/proc/pressure/cpu")) {}

HostCounts HostCounters::look() const {
  static const auto ticks_per_second = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  std::array<char, 256> buffer;
  HostCounts counts;
  if (stat_.valid()) counts.steal_ms = parse_steal_ms(first_bytes(stat_.get(), buffer), ticks_per_second);
  if (pressure_.valid()) counts.cpu_pressure_us = parse_pressure_us(first_bytes(pressure_.get(), buffer));
  return counts;
}

std::optional<std::uint64_t> parse_pressure_us(std::string_view text) {
  constexpr std::string_view kTotal = "total=";
  if (!text.starts_with("some ")) return std::nullopt;
  text = text.substr(0, text.find('\n'));
  const auto at = text.find(kTotal);
  return at == text.npos ? std::nullopt : number_at(text.substr(at + kTotal.size()));
}

std::optional<std::uint64_t> parse_steal_ms(std::string_view text, std::uint64_t ticks_per_second) {
  // "cpu  user nice system idle iowait irq softirq steal …"
  constexpr int kFieldsBefore = 8;
  if (!text.starts_with("cpu ")) return std::nullopt;
  text = text.substr(0, text.find('\n'));
  for (int i = 0; i < kFieldsBefore; ++i) {
    const auto space = text.find(' ');
    if (space == text.npos) return std::nullopt;
    text.remove_prefix(space);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  const auto ticks = number_at(text);
  if (!ticks) return std::nullopt;
  return *ticks * 1000 / ticks_per_second;
}

}  // namespace bailiff::sandbox
