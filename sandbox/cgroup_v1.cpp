#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_freezer.h"
#include "sandbox/cgroup_members.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint64_t kMinQuotaUs = 1'000;          // the kernel's own minimum
constexpr std::uint64_t kSocketBytes = 64 << 20;     // of network sockets; beyond it they are charged as other memory is
constexpr std::uint64_t kKeepCacheBytes = 4 << 20;    // page cache of earlier steps that may stay charged
constexpr std::uint64_t kMostBaselineBytes = 8 << 20;  // with that of a prepared sandbox
constexpr std::chrono::seconds kSettleTime(5);

class StationV1 final : public Station {
 public:
  explicit StationV1(const ControllerPaths& groups) : groups_(groups) {}
  ~StationV1() override { (void)end(); }

  core::Status adopt_spawner(pid_t spawner, const std::string& image_root) override {
    spawner_ = spawner;
    for (const auto& controller : kControllers) {
      const std::string& group = groups_.*controller.path;
      if (group.empty() || &group == &pids_) continue;  // of pids it gets one below
      if (auto attached = write_kernel_file(group + "/cgroup.procs", std::to_string(spawner)); !attached) return attached;
    }
    for (const auto& group : other_groups_)
      if (auto attached = write_kernel_file(group + "/cgroup.procs", std::to_string(spawner)); !attached) return attached;
    if (auto renewed = renew_pids_group(); !renewed) return renewed;
    auto io = IoControl::open(groups_.blkio, false, image_disks(image_root));
    if (!io) return std::unexpected(io.error());
    io_ = std::move(*io);
    return open_files();
  }

  core::Status prepare() override { return {}; }
  int clone_into() const override { return -1; }
  std::vector<std::string> groups() const override {
    std::vector<std::string> groups = other_groups_;
    groups.push_back(pids_group_);
    for (const auto& controller : kControllers)
      if (const std::string& group = groups_.*controller.path; !group.empty() && &group != &pids_) groups.push_back(group);
    return groups;
  }

  core::Status begin(const CgroupLimits& limits) override {
    if (auto set = set_processes(limits.processes + kOwnProcesses); !set) return set;
    if (auto set = set_cpus(limits.cpus_milli); !set) return set;
    if (auto set = io_.limit(limits.io); !set) return set;
    auto used = settled_memory();
    if (!used) return std::unexpected(used.error());
    memory_base_ = *used;  // exactly, so that the peak is never told too low and the limit is the program's own
    if (auto set = set_memory(memory_base_.bytes + limits.memory_bytes); !set) return set;
    if (auto reset = write_kernel_file(peak_fd_.get(), "0"); !reset) return reset;
    auto now = read_counters();
    if (!now) return std::unexpected(now.error());
    base_ = *now;
    return {};
  }

  core::Result<std::uint64_t> cpu_ns() override {
    settle_cpu_account(cpuacct_ + "/tasks");
    auto total = read_kernel_number(cpu_fd_.get());
    if (!total) return total;
    return *total - base_.cpu_ns;
  }

  void kill_programs(pid_t init) override { kill_members(cpuacct_ + "/cgroup.procs", {init, spawner_}); }

  core::Result<CgroupUsage> usage() override {
    auto now = read_counters();
    if (!now) return now;
    now->cpu_ns -= base_.cpu_ns;
    now->user_ns -= base_.user_ns;
    now->system_ns -= base_.system_ns;
    now->oom_kills -= base_.oom_kills;
    now->throttled_ns -= base_.throttled_ns;
    now->pids_max_hits -= base_.pids_max_hits;
    if (now->io) *now->io = {now->io->read - base_.io->read, now->io->written - base_.io->written};
    const auto peak = read_kernel_number(peak_fd_.get());
    const auto stat = read_kernel_file(memory_stat_fd_.get());
    if (!peak || !stat) return std::unexpected(peak ? stat.error() : peak.error());
    now->memory_peak_bytes = *peak > memory_base_.bytes ? *peak - memory_base_.bytes : 0;
    now->memory_anon_bytes = keyed_number(*stat, "rss");
    now->memory_file_bytes = keyed_number(*stat, "cache");
    now->memory_refaults = refaults_of(*stat) - memory_base_.refaults;
    if (pids_peak_fd_.valid()) {
      const auto processes = read_kernel_number(pids_peak_fd_.get());
      if (!processes) return std::unexpected(processes.error());
      now->processes_peak = std::max(*processes, kOwnProcesses + 1) - kOwnProcesses;
      pids_group_used_ = now->processes_peak > 1;
    }
    return now;
  }

  int oom_fd() const override { return oom_fd_.get(); }
  short oom_poll_events() const override { return POLLIN; }
  bool take_oom_event() override {
    std::uint64_t count = 0;
    (void)!read(oom_fd_.get(), &count, sizeof count);
    const auto control = read_kernel_file(oom_control_fd_.get());
    return control && keyed_number(*control, "oom_kill") > base_.oom_kills;
  }

  core::Result<MemoryState> memory_state() override {
    const auto stat = read_kernel_file(memory_stat_fd_.get());
    const auto used = read_kernel_number(usage_fd_.get());
    if (!stat || !used) return std::unexpected(stat ? used.error() : stat.error());
    return memory_state_of(*stat, *used, set_memory_bytes_);
  }

  std::uint64_t processes_now() const override {
    const auto file = read_kernel_file(pids_group_ + "/pids.current");
    return file ? std::max(std::strtoull(file->c_str(), nullptr, 10), kOwnProcesses + 0ULL) - kOwnProcesses : 0;
  }

  core::Status freeze() override {
    if (groups_.freezer.empty()) return core::error(core::ErrorKind::unavailable, "no freezer hierarchy is mounted");
    return freezer_.freeze(groups_.freezer);
  }
  core::Status thaw() override { return freezer_.thaw(); }
  core::Status release() override {
    if (auto lifted = io_.limit({}); !lifted) return lifted;
    return thaw();
  }

  core::Status end() override {
    // The peak cannot be reset, so a group in which it says more than the next program's first process would is given up.
    if (pids_group_used_)
      if (auto renewed = renew_pids_group(); !renewed) return renewed;
    // What is charged now belongs to no program. A little may stay: the next step's figures are differences. Much of it would
    // be memory that the next program could reclaim for itself beyond its limit, so it is given back.
    const auto used = usage_fd_.valid() ? read_kernel_number(usage_fd_.get()) : core::Result<std::uint64_t>(0);
    if (used && *used > kKeepCacheBytes) (void)write_kernel_file(memory_ + "/memory.force_empty", "0");
    (void)take_oom_event();
    return {};
  }

 private:
  struct Charged {
    std::uint64_t bytes = 0, refaults = 0;
  };

  static core::Status open_into(core::Fd& into, const std::string& path, int flags) {
    auto fd = open_kernel_file(path, flags);
    if (!fd) return std::unexpected(fd.error());
    into = std::move(*fd);
    return {};
  }

  core::Status open_files() {
    struct File {
      core::Fd* into;
      std::string path;
      int flags;
    };
    const File files[] = {
        {&cpu_fd_, cpuacct_ + "/cpuacct.usage", O_RDONLY},          {&user_fd_, cpuacct_ + "/cpuacct.usage_user", O_RDONLY},
        {&system_fd_, cpuacct_ + "/cpuacct.usage_sys", O_RDONLY},   {&cpu_stat_fd_, cpu_ + "/cpu.stat", O_RDONLY},
        {&usage_fd_, memory_ + "/memory.usage_in_bytes", O_RDONLY}, {&peak_fd_, memory_ + "/memory.max_usage_in_bytes", O_RDWR},
        {&memory_stat_fd_, memory_ + "/memory.stat", O_RDONLY},     {&kernel_memory_fd_, memory_ + "/memory.kmem.usage_in_bytes", O_RDONLY},
        {&limit_fd_, memory_ + "/memory.limit_in_bytes", O_WRONLY}, {&oom_control_fd_, memory_ + "/memory.oom_control", O_RDONLY}};
    for (const auto& file : files)
      if (auto opened = open_into(*file.into, file.path, file.flags); !opened) return opened;
    if (const std::string with_swap = memory_ + "/memory.memsw.limit_in_bytes"; access(with_swap.c_str(), F_OK) == 0) {
      if (auto opened = open_into(swap_limit_fd_, with_swap, O_WRONLY); !opened) return opened;
    } else if (auto set = write_kernel_file(memory_ + "/memory.swappiness", "0"); !set) {
      return set;
    }
    oom_fd_ = core::Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!oom_fd_.valid()) return core::errno_error("eventfd");
    // Buffers of network sockets are counted only where they have a limit, and apart from other memory.
    if (auto set = write_kernel_file(memory_ + "/memory.kmem.tcp.limit_in_bytes", std::to_string(kSocketBytes)); !set) return set;
    return write_kernel_file(memory_ + "/cgroup.event_control",
                             std::to_string(oom_fd_.get()) + " " + std::to_string(oom_control_fd_.get()));
  }

  /// What is charged when nothing of an earlier step is left. The kernel frees some of it (System V objects, sockets) after the last
  /// process is gone, and sends no event for it; a baseline with that in it would be memory that the next program may use beyond its
  /// limit.
  core::Result<Charged> settled_memory() {
    const auto deadline = std::chrono::steady_clock::now() + kSettleTime;
    while (true) {
      auto used = charged_memory();
      if (!used || used->bytes <= kMostBaselineBytes) return used;
      if (std::chrono::steady_clock::now() > deadline)
        return core::error(core::ErrorKind::internal, std::to_string(used->bytes) + " bytes of an earlier step are not freed");
      (void)write_kernel_file(memory_ + "/memory.force_empty", "0");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /// What is really in use. The usage counter has on top what each CPU has charged ahead for later pages, up to 256 KiB.
  core::Result<Charged> charged_memory() {
    const auto stat = read_kernel_file(memory_stat_fd_.get());
    if (!stat) return std::unexpected(stat.error());
    const auto kernel = read_kernel_number(kernel_memory_fd_.get());
    if (!kernel) return std::unexpected(kernel.error());
    return Charged{keyed_number(*stat, "rss") + keyed_number(*stat, "cache") + *kernel, refaults_of(*stat)};
  }

  /// A new pids group with nobody but the spawner in it. What it clones is born there.
  core::Status renew_pids_group() {
    const std::string former = pids_group_.empty() ? "" : pids_group_;
    pids_group_ = pids_ + "/" + std::to_string(++pids_groups_);
    if (mkdir(pids_group_.c_str(), 0755) != 0) return core::errno_error("mkdir " + pids_group_);
    if (auto moved = write_kernel_file(pids_group_ + "/cgroup.procs", std::to_string(spawner_)); !moved) return moved;
    if (!former.empty() && rmdir(former.c_str()) != 0 && errno != ENOENT) return core::errno_error("rmdir " + former);
    if (auto opened = open_into(pids_max_fd_, pids_group_ + "/pids.max", O_WRONLY); !opened) return opened;
    if (auto opened = open_into(pids_events_fd_, pids_group_ + "/pids.events", O_RDONLY); !opened) return opened;
    if (const std::string peak = pids_group_ + "/pids.peak"; access(peak.c_str(), F_OK) == 0)  // since Linux 6.10
      if (auto opened = open_into(pids_peak_fd_, peak, O_RDONLY); !opened) return opened;
    set_processes_ = 0;
    pids_group_used_ = false;
    return {};
  }

  core::Status set_processes(std::uint64_t processes) {
    if (processes == set_processes_) return {};
    if (auto set = write_kernel_file(pids_max_fd_.get(), std::to_string(processes)); !set) return set;
    set_processes_ = processes;
    return {};
  }

  core::Status set_cpus(std::uint64_t cpus_milli) {
    if (cpus_milli == set_cpus_milli_) return {};
    const long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const std::uint64_t quota = std::max(kMinQuotaUs, cpus_milli * kCpuPeriodUs / 1000);
    const bool unlimited = cpus_milli >= static_cast<std::uint64_t>(host_cpus) * 1000;
    if (auto set = write_kernel_file(cpu_ + "/cpu.cfs_period_us", std::to_string(kCpuPeriodUs)); !set) return set;
    if (auto set = write_kernel_file(cpu_ + "/cpu.cfs_quota_us", unlimited ? "-1" : std::to_string(quota)); !set) return set;
    set_cpus_milli_ = cpus_milli;
    return {};
  }

  core::Status set_memory(std::uint64_t bytes) {
    if (bytes == set_memory_bytes_) return {};
    // memory+swap may never be below memory, so the order depends on the direction; equal limits mean no swap.
    std::vector<int> files = {swap_limit_fd_.get(), limit_fd_.get()};
    if (!swap_limit_fd_.valid()) files.erase(files.begin());
    if (bytes < set_memory_bytes_ && files.size() == 2) std::swap(files[0], files[1]);
    for (const int file : files)
      if (auto set = write_kernel_file(file, std::to_string(bytes)); !set) return set;
    set_memory_bytes_ = bytes;
    return {};
  }

  /// Counters that only grow.
  core::Result<CgroupUsage> read_counters() {
    CgroupUsage counters;
    const auto total = read_kernel_number(cpu_fd_.get()), user = read_kernel_number(user_fd_.get()),
               system = read_kernel_number(system_fd_.get());
    const auto control = read_kernel_file(oom_control_fd_.get()), cpu = read_kernel_file(cpu_stat_fd_.get()),
               pids = read_kernel_file(pids_events_fd_.get());
    if (!total || !user || !system) return core::error(core::ErrorKind::internal, "cpuacct could not be read");
    if (!control || !cpu || !pids)
      return core::error(core::ErrorKind::internal, "memory.oom_control, cpu.stat or pids.events could not be read");
    counters.cpu_ns = *total;
    counters.user_ns = *user;
    counters.system_ns = *system;
    counters.oom_kills = keyed_number(*control, "oom_kill");
    counters.throttled_ns = keyed_number(*cpu, "throttled_time");
    counters.pids_max_hits = keyed_number(*pids, "max");
    if (io_.counts()) {
      const auto io = io_.used();
      if (!io) return std::unexpected(io.error());
      counters.io = *io;
    }
    return counters;
  }

  static constexpr std::uint64_t kOwnProcesses = 2;  // spawner and init

  const ControllerPaths groups_;
  const std::string &memory_ = groups_.memory, &cpu_ = groups_.cpu, &cpuacct_ = groups_.cpuacct, &pids_ = groups_.pids;
  std::string pids_group_;
  core::Fd cpu_fd_, user_fd_, system_fd_, cpu_stat_fd_, usage_fd_, peak_fd_, kernel_memory_fd_, memory_stat_fd_, limit_fd_, swap_limit_fd_,
      oom_control_fd_, oom_fd_, pids_max_fd_, pids_events_fd_, pids_peak_fd_;
  FreezerV1 freezer_;
  IoControl io_;
  CgroupUsage base_;
  pid_t spawner_ = -1;
  Charged memory_base_;
  std::uint64_t set_cpus_milli_ = 0, set_memory_bytes_ = UINT64_MAX, set_processes_ = 0, pids_groups_ = 0;
  bool pids_group_used_ = false;
};

}  // namespace

std::unique_ptr<Station> make_station_v1(const ControllerPaths& groups) { return std::make_unique<StationV1>(groups); }

}  // namespace bailiff::sandbox
