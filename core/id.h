#pragma once
// Job ids: ULIDs (https://github.com/ulid/spec) in lower case: 26 characters of [0-9a-z], 48 bits of Unix milliseconds followed by
// 80 random bits. Safe in a URL and in a file name; their order as text is their order of creation; not to be guessed from one another.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace bailiff::core {

inline constexpr std::size_t kJobIdLength = 26;

__extension__ using JobIdValue = unsigned __int128;  // 48 bits of Unix milliseconds, then 80 random ones

/// Makes ids, each greater than the one before it: inside a millisecond and after a clock that steps back as well. Any thread.
class JobIdSource {
 public:
  using UnixMs = std::function<std::uint64_t()>;
  using FillRandom = std::function<void(std::span<unsigned char>)>;
  JobIdSource(UnixMs now, FillRandom fill_random) : now_(std::move(now)), fill_random_(std::move(fill_random)) {}
  [[nodiscard]] std::string next();

 private:
  std::mutex mutex_;
  UnixMs now_;
  FillRandom fill_random_;
  JobIdValue last_ = 0;
};

/// The process's next id, from the system clock and getrandom(2). Any thread.
[[nodiscard]] std::string new_job_id();

/// Not after any id that is made at that time or later.
[[nodiscard]] std::string first_job_id_of(std::uint64_t unix_ms);

/// Whether the text has the shape of an id: what a path such as /v1/jobs/{id} may hold.
[[nodiscard]] bool is_job_id(std::string_view text);

}  // namespace bailiff::core
