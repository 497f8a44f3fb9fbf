#pragma once
// The time of day, as it is stored and shown.
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace bailiff::core {

/// Microseconds since 1970. It may step back.
[[nodiscard]] inline std::int64_t unix_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The time since; never negative, though the clock may have stepped back.
[[nodiscard]] inline std::chrono::microseconds age(std::int64_t since_us) {
  return std::chrono::microseconds(std::max<std::int64_t>(unix_us() - since_us, 0));
}

}  // namespace bailiff::core
