#pragma once
// What of the host disturbed a step: time for which the hypervisor ran somebody else, and time for which threads waited for a CPU.
// Sources: proc(5) (/proc/stat), Documentation/accounting/psi.rst.
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/fd.h"

namespace bailiff::sandbox {

/// Sums since boot. Nothing: nobody counts it here.
struct HostCounts {
  std::optional<std::uint64_t> steal_ms;         // of all CPUs together
  std::optional<std::uint64_t> cpu_pressure_us;  // some thread of the host waited
  HostCounts operator-(const HostCounts& before) const;
};

class HostCounters {
 public:
  HostCounters();
  /// Costs a few microseconds for each CPU of the host.
  [[nodiscard]] HostCounts look() const;

 private:
  core::Fd stat_, pressure_;
};

/// Of the text of a pressure file, "some … total=<us>".
std::optional<std::uint64_t> parse_pressure_us(std::string_view text);
/// Of the text of /proc/stat, whose unit is 1/`ticks_per_second` s.
std::optional<std::uint64_t> parse_steal_ms(std::string_view text, std::uint64_t ticks_per_second);

}  // namespace bailiff::sandbox
