#pragma once
// Every limit that a step runs under, in one table: name on the wire, unit, default, ceiling, floor.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bailiff::core {

inline constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

/// What a step may use. Members are whole numbers in the unit that their name ends in, so that one table serves all of them.
struct Limits {
  std::uint64_t cpu_time_us;        // user + system of all processes of the step, from the cgroup
  std::uint64_t wall_time_us;       // from the program's exec to its end; paused time excluded
  std::uint64_t memory_bytes;       // cgroup memory: anonymous, page cache, tmpfs, kernel objects; swap is 0
  std::uint64_t stack_bytes;        // RLIMIT_STACK of the main thread
  std::uint64_t processes;          // processes and threads at one time (pids cgroup)
  std::uint64_t cpus_milli;         // CPU rate in thousandths of one CPU (CFS quota)
  std::uint64_t output_bytes;       // of each of stdout and stderr; one byte more is the verdict output_limit_exceeded
  std::uint64_t file_bytes;         // RLIMIT_FSIZE: the largest single file
  std::uint64_t workspace_bytes;    // size of the tmpfs at /work (and, separately, of /tmp and of /dev/shm)
  std::uint64_t workspace_inodes;   // files and directories in each of these
  std::uint64_t open_files;         // RLIMIT_NOFILE
  // Block I/O on each disk that holds the image (the program writes to memory only); 0: no cap.
  std::uint64_t io_read_bytes_per_s, io_write_bytes_per_s, io_read_ops_per_s, io_write_ops_per_s;
  bool operator==(const Limits&) const = default;
};

struct LimitField {
  const char* name;                     // in JSON and in TOML
  std::uint64_t Limits::* member;
  std::uint64_t scale;                  // member = JSON value × scale (1000: ms → us, CPUs → thousandths)
  std::uint64_t default_value, ceiling, floor;  // in the member's unit; a server's configuration may move the first two
  bool zero_is_none = false;            // 0 is no limit, so the loosest of all values
  /// Orders values from the tightest to the loosest: what floors and ceilings are compared by.
  [[nodiscard]] constexpr std::uint64_t order(std::uint64_t value) const { return zero_is_none ? value - 1 : value; }
};

// Floors of caps on I/O are for the neighbours: a page that a capped program waits for, others wait for as long.
inline constexpr std::array<LimitField, 15> kLimitFields = {{
    {"cpu_time_ms", &Limits::cpu_time_us, 1000, 10'000'000, 300'000'000, 1'000},
    {"wall_time_ms", &Limits::wall_time_us, 1000, 30'000'000, 900'000'000, 1'000},
    {"memory_bytes", &Limits::memory_bytes, 1, 512 * kMiB, 4 * kGiB, 1 * kMiB},
    {"stack_bytes", &Limits::stack_bytes, 1, 64 * kMiB, 1 * kGiB, 64 * kKiB},
    {"processes", &Limits::processes, 1, 128, 1024, 1},
    {"cpus", &Limits::cpus_milli, 1000, 1'000, 64'000, 10},
    {"output_bytes", &Limits::output_bytes, 1, 4 * kMiB, 64 * kMiB, 0},
    {"file_bytes", &Limits::file_bytes, 1, 256 * kMiB, 2 * kGiB, 0},
    {"workspace_bytes", &Limits::workspace_bytes, 1, 256 * kMiB, 2 * kGiB, 4 * kKiB},
    {"workspace_inodes", &Limits::workspace_inodes, 1, 16'384, 1'000'000, 16},
    {"open_files", &Limits::open_files, 1, 256, 4096, 3},
    {"io_read_bytes_per_s", &Limits::io_read_bytes_per_s, 1, 0, 0, 1 * kMiB, true},
    {"io_write_bytes_per_s", &Limits::io_write_bytes_per_s, 1, 0, 0, 1 * kMiB, true},
    {"io_read_ops_per_s", &Limits::io_read_ops_per_s, 1, 0, 0, 100, true},
    {"io_write_ops_per_s", &Limits::io_write_ops_per_s, 1, 0, 0, 100, true},
}};
inline constexpr std::size_t kLimitCount = kLimitFields.size();

/// What a request, a test or a language says about some of the limits; the others come from below it.
struct LimitOverrides {
  std::array<std::optional<std::uint64_t>, kLimitCount> values;  // index and unit as in kLimitFields
  bool operator==(const LimitOverrides&) const = default;
};

/// Index into kLimitFields, or nothing for an unknown name.
[[nodiscard]] std::optional<std::size_t> limit_index(std::string_view name);
[[nodiscard]] Limits default_limits();
[[nodiscard]] Limits ceiling_limits();
/// `base` with every value that `over` names replaced.
[[nodiscard]] Limits apply(Limits base, const LimitOverrides& over);
/// `base` where it does not exceed `ceiling`, else the ceiling, field by field.
[[nodiscard]] Limits at_most(Limits base, const Limits& ceiling);

}  // namespace bailiff::core
