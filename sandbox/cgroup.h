#pragma once
// Control groups: one interface over v1 (every controller in a hierarchy of its own) and v2 (one tree).
//
// A Station is where one sandbox lives: the groups it is born in and measured by. A slot has two stations, so that the next sandbox can be
// prepared while the current one runs without touching its counters.
//  v1: the station's groups are made once and stay; its spawner is a member of them, so children are born inside and nobody waits for an
//      attach (the first attach after idleness waits for an RCU grace period, 5-15 ms). Figures of a step are differences from its start
//      (CPU, memory), with the peak reset. The peak of a pids group cannot be reset, so the spawner moves to a new one after a step that
//      had more than one process.
//  v2: every step gets a new group, and its init is born there by CLONE_INTO_CGROUP.
// Sources: Documentation/admin-guide/cgroup-v1/{memory,cpuacct,pids}.rst, cgroup-v2.rst.
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/limits.h"
#include "core/result.h"
#include "sandbox/cgroup_io.h"
#include "sandbox/cgroup_net.h"
#include "sandbox/starvation.h"

namespace bailiff::sandbox {

// Of the CPU quota. Short, so that a throttled burst waits little.
inline constexpr std::uint64_t kCpuPeriodUs = 20'000;

struct CgroupLimits {
  std::uint64_t memory_bytes;
  std::uint64_t processes;   // of the program; our init comes on top
  std::uint64_t cpus_milli;  // thousandths of a CPU
  IoCaps io;
  bool operator==(const CgroupLimits&) const = default;
};
CgroupLimits cgroup_limits(const core::Limits& limits);

/// Since begin(). Times in nanoseconds.
struct CgroupUsage {
  std::uint64_t cpu_ns = 0, user_ns = 0, system_ns = 0;
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t processes_peak = 0;  // 0: the kernel does not tell
  std::uint64_t oom_kills = 0, pids_max_hits = 0, throttled_ns = 0;
  std::uint64_t memory_anon_bytes = 0, memory_file_bytes = 0;  // at the time of the call
  std::uint64_t memory_refaults = 0;  // pages of files that were taken away for want of memory and read again
  std::optional<IoBytes> io;  // nothing: not counted here
  std::optional<std::uint64_t> cpu_pressure_us;  // time that some thread of the group waited for a CPU; nothing: not counted here
};

class Station {
 public:
  virtual ~Station() = default;
  /// Makes a process a permanent member (v1; nothing on v2): what it clones is born inside. It is one of the image with this root.
  virtual core::Status adopt_spawner(pid_t spawner, const std::string& image_root) = 0;
  /// Makes what is new for the next step.
  virtual core::Status prepare() = 0;
  /// Directory of the group that the next init is to be cloned into; -1 where it is born there anyway.
  [[nodiscard]] virtual int clone_into() const = 0;
  /// Directories of the groups that the sandbox is in, one for each hierarchy in use; the first one has all of its processes.
  [[nodiscard]] virtual std::vector<std::string> groups() const = 0;
  /// Sets the limits and takes the baselines: what is charged already is not the program's. Called when the sandbox is prepared, and again
  /// where the request then has other limits.
  virtual core::Status begin(const CgroupLimits& limits) = 0;
  /// Since begin(), exact to this moment for running threads too.
  virtual core::Result<std::uint64_t> cpu_ns() = 0;
  /// SIGKILL to all that runs in the sandbox but its init, which is left to reap it and to end what was born meanwhile.
  virtual void kill_programs(pid_t init) = 0;
  virtual core::Result<CgroupUsage> usage() = 0;
  /// Polled for oom_poll_events(): the kernel says that it met the memory limit. Drained by take_oom_event().
  [[nodiscard]] virtual int oom_fd() const = 0;
  [[nodiscard]] virtual short oom_poll_events() const = 0;
  /// True when the OOM killer really killed since begin().
  virtual bool take_oom_event() = 0;
  /// How full the group is now.
  virtual core::Result<MemoryState> memory_state() = 0;
  /// Of the program, now; 0 where that cannot be told.
  [[nodiscard]] virtual std::uint64_t processes_now() const = 0;
  /// Stops every process of the sandbox, until thaw() or release().
  virtual core::Status freeze() = 0;
  /// Harmless where nothing is frozen.
  virtual core::Status thaw() = 0;
  /// thaw(), and caps on I/O are lifted until the next begin(): what is killed may need it to die. Harmless without them.
  virtual core::Status release() = 0;
  /// After everything in the sandbox is dead: removes what prepare() made and gives back caches charged to the station.
  virtual core::Status end() = 0;

  /// Groups of other v1 hierarchies that the spawner is to be a member of too. Before adopt_spawner().
  void add_groups(std::vector<std::string> groups) { other_groups_ = std::move(groups); }

 protected:
  std::vector<std::string> other_groups_;
};

/// One path for each controller; empty where there is none. Those that v2 has are one and the same there.
struct ControllerPaths {
  std::string freezer, blkio, memory, cpu, cpuacct, pids, cpuset, devices;
};
struct Controller {
  const char* name;  // of the v1 hierarchy
  std::string ControllerPaths::* path;
  const char* v2_name;  // in cgroup.controllers; "": v2 has it in every group without a controller
  bool required;  // without it no step runs
};
inline constexpr std::array<Controller, 8> kControllers = {{{"freezer", &ControllerPaths::freezer, "", false},
                                                            {"blkio", &ControllerPaths::blkio, "io", false},
                                                            {"memory", &ControllerPaths::memory, "memory", true},
                                                            {"cpu", &ControllerPaths::cpu, "cpu", true},
                                                            {"cpuacct", &ControllerPaths::cpuacct, "cpu", true},
                                                            {"pids", &ControllerPaths::pids, "pids", true},
                                                            {"cpuset", &ControllerPaths::cpuset, "cpuset", false},
                                                            {"devices", &ControllerPaths::devices, "", false}}};

/// The cgroup side of this host, as found under `root` ("" for the real one; a directory for tests).
class CgroupHost {
 public:
  /// Finds every controller (kControllers) and this process's group in it, and makes our own subtree `name` below that. What an
  /// earlier, dead launcher of the same name left is removed. `delegated`: this process's group was made for us, so on v2 no other will
  /// do.
  static core::Result<CgroupHost> make(const std::string& name, bool delegated, const std::string& root = "");
  CgroupHost(CgroupHost&&) noexcept = default;
  CgroupHost& operator=(CgroupHost&&) noexcept = default;
  /// Has the packets of all stations made from now on marked. ErrorKind::unavailable: the hierarchy is not there.
  core::Status mark_packets(const NetMarks& marks);
  /// Whether slots can be pinned to these CPUs, a cpuset list. ErrorKind::invalid: not to these; unavailable: not at all.
  [[nodiscard]] core::Status can_pin(const std::string& cpus) const;
  /// Groups of one station; `cpus` is a cpuset list or empty.
  core::Result<std::unique_ptr<Station>> make_station(const std::string& station, const std::string& cpus) const;
  /// Removes the groups of a station whose processes are dying (waits at most two seconds for them).
  core::Status remove_station(const std::string& station) const;
  /// Removes our subtree. All stations' processes must be dead or dying.
  core::Status remove() const;
  [[nodiscard]] bool unified() const { return unified_; }

 private:
  CgroupHost() = default;
  core::Status find_hierarchies();
  core::Status make_unified_base(const std::string& own_group, const std::string& root_group);
  [[nodiscard]] std::vector<std::string> all_bases() const;
  core::Result<std::vector<std::string>> make_marked_groups(const std::string& station) const;
  std::string root_, name_;
  bool unified_ = false, delegated_ = false;
  NetMarks marks_;
  std::string net_cls_, net_prio_;  // our subtree's directory there; empty without marks
  ControllerPaths bases_;  // our subtree's directory in each hierarchy
};

/// The mount point and this process's path of each hierarchy that matters, from /proc/self/{mountinfo,cgroup} texts. Pure.
struct CgroupHierarchies : ControllerPaths {
  std::string net_cls, net_prio;  // of v1 in any case
  std::string unified_root;  // mount point of the v2 hierarchy; set where `unified` is
  bool unified = false;
};
CgroupHierarchies parse_hierarchies(std::string_view mountinfo, std::string_view self_cgroup);
/// The same of a process ("self", or digits) as seen under `root`.
core::Result<CgroupHierarchies> hierarchies_of(const std::string& process, const std::string& root = "");
/// The processes in a group (not those below it); none where it cannot be read.
std::vector<pid_t> group_members(const std::string& group);

std::unique_ptr<Station> make_station_v1(const ControllerPaths& groups);
std::unique_ptr<Station> make_station_v2(std::string base, std::string station, std::string cpus);

}  // namespace bailiff::sandbox
