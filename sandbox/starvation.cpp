#include "sandbox/starvation.h"

#include <algorithm>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::milliseconds kShortest(50);
// Above what each CPU of a host has charged ahead for later pages.
constexpr std::uint64_t kFullBytes = 1 << 20;
constexpr std::uint64_t kFewBytes = 4 << 20;
constexpr double kPageBytes = 4096;
// How often in a second each page of a file that is left is read again; and how many pages, where next to none is left.
constexpr double kTurnsPerSecond = 64;
constexpr double kRefaultsPerSecond = 1024;

}  // namespace

std::uint64_t refaults_of(std::string_view stat) { return keyed_number(stat, "workingset_refault_file"); }

MemoryState memory_state_of(std::string_view stat, std::uint64_t charged_bytes, std::uint64_t limit_bytes) {
  return {limit_bytes - std::min(limit_bytes, charged_bytes), keyed_number(stat, "active_file") + keyed_number(stat, "inactive_file"),
          refaults_of(stat)};
}

void Starvation::look(const MemoryState& state, Time now) {
  if (last_ && now - last_->at < kShortest) return;
  if (last_) {
    const double seconds = std::chrono::duration<double>(now - last_->at).count();
    const double rate = static_cast<double>(state.refaults - last_->refaults) / seconds;
    const double much = std::max(kRefaultsPerSecond, kTurnsPerSecond * static_cast<double>(state.file_bytes) / kPageBytes);
    const bool starved = state.room_bytes <= kFullBytes && state.file_bytes <= kFewBytes && rate >= much;
    in_a_row_ = starved ? in_a_row_ + 1 : 0;
  }
  last_ = {state.refaults, now};
}

}  // namespace bailiff::sandbox
