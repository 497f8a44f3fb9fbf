#include "core/id.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace bailiff::core {
namespace {

// Crockford's base 32: no i, l, o, u; ascending in ASCII, so that text order is numeric order.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr unsigned kRandomBits = 80;
constexpr std::uint64_t kClockMask = (std::uint64_t{1} << 48) - 1;
using Value = JobIdValue;

std::uint64_t system_unix_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

// getrandom fails only where the kernel has no such call; ids that can be guessed are no answer to that.
void kernel_random(std::span<unsigned char> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

std::string id_text(Value value) {
  std::string text(kJobIdLength, '0');
  for (std::size_t i = kJobIdLength; i-- > 0; value >>= 5) text[i] = kAlphabet[static_cast<std::size_t>(value & 31)];
  return text;
}

}  // namespace

std::string JobIdSource::next() {
  const std::lock_guard lock(mutex_);
  std::array<unsigned char, kRandomBits / 8> random{};
  fill_random_(random);
  Value value = now_() & kClockMask;
  for (const unsigned char byte : random) value = value << 8 | byte;
  if (value <= last_) {
    // Same millisecond or a clock that went back: continue from the last id by a random stride, so the next id stays unguessable.
    const Value stride = Value{random[0]} << 24 | Value{random[1]} << 16 | Value{random[2]} << 8 | random[3];
    value = last_ + 1 + stride;
  }
  last_ = value;
  return id_text(value);
}

std::string first_job_id_of(std::uint64_t unix_ms) { return id_text(Value{unix_ms & kClockMask} << kRandomBits); }

std::string new_job_id() {
  // Order holds for the process as a whole, so its state is the process's as well.
  static JobIdSource source(system_unix_ms, kernel_random);
  return source.next();
}

bool is_job_id(std::string_view text) {
  return text.size() == kJobIdLength && text.front() <= '7' &&
         std::ranges::all_of(text, [](char c) { return kAlphabet.find(c) != std::string_view::npos; });
}

}  // namespace bailiff::core
