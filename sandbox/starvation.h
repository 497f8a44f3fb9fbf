#pragma once
// A program that fills its memory limit to the last page has none left for the file pages that it runs from. The kernel takes each away
// to have the next one read, counts that as progress, and does not kill: the program would read its own code again and again until
// its time is over. That is the memory limit met, and it is told by the kernel's counters:
//  - the group is full,
//  - hardly any page of a file is left in it, and each of these is read again (refaulted) many times a second,
//  - and it stays so.
// Sources: mm/workingset.c, Documentation/admin-guide/cgroup-v2.rst (workingset_refault_file).
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bailiff::sandbox {

/// Of a group, at one moment.
struct MemoryState {
  std::uint64_t room_bytes = 0;  // from what is charged to the limit
  std::uint64_t file_bytes = 0;  // pages of files that can be taken away and read again
  std::uint64_t refaults = 0;    // pages that were taken away and read again, ever
};

/// Of the texts of memory.stat, whose names are the same on v1 and v2.
std::uint64_t refaults_of(std::string_view stat);
MemoryState memory_state_of(std::string_view stat, std::uint64_t charged_bytes, std::uint64_t limit_bytes);

class Starvation {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // A look costs a read of two kernel files.
  static constexpr std::chrono::milliseconds kLook{250};

  /// A look at the group. A look too soon after the last changes nothing.
  void look(const MemoryState& state, Time now);
  /// By the last look.
  [[nodiscard]] bool starved() const { return in_a_row_ > 0; }
  /// For so long that it does not end by itself.
  [[nodiscard]] bool lasts() const { return in_a_row_ >= 4; }

 private:
  struct Look {
    std::uint64_t refaults;
    Time at;
  };
  std::optional<Look> last_;
  int in_a_row_ = 0;
};

}  // namespace bailiff::sandbox
