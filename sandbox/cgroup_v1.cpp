#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint64_t kPeriodUs = 20'000;           // short, so that a throttled burst waits little
constexpr std::uint64_t kMinQuotaUs = 1'000;          // the kernel's own minimum
constexpr std::uint64_t kKeepCacheBytes = 4 << 20;    // page cache of earlier steps that may stay charged

class StationV1 final : public Station {
 public:
  StationV1(std::string memory, std::string cpu, std::string cpuacct, std::string pids, std::string cpuset)
      : memory_(std::move(memory)), cpu_(std::move(cpu)), cpuacct_(std::move(cpuacct)), pids_(std::move(pids)), cpuset_(std::move(cpuset)) {
  }
  ~StationV1() override { (void)end(); }

  core::Status adopt_spawner(pid_t spawner) override {
    for (const auto* group : {&memory_, &cpu_, &cpuacct_, &pids_, &cpuset_}) {
      if (group->empty()) continue;
      if (auto attached = write_kernel_file(*group + "/cgroup.procs", std::to_string(spawner)); !attached) return attached;
    }
    return open_files();
  }

  core::Status prepare() override {
    step_ = pids_ + "/step";
    if (mkdir(step_.c_str(), 0755) != 0) return core::errno_error("mkdir " + step_);
    auto file = open_kernel_file(step_ + "/cgroup.procs", O_WRONLY);
    if (!file) return std::unexpected(file.error());
    attach_ = std::move(*file);
    return {};
  }

  int clone_into() const override { return -1; }
  int attach_file() const override { return attach_.get(); }

  core::Status begin(const CgroupLimits& limits) override {
    if (auto set = write_kernel_file(step_ + "/pids.max", std::to_string(limits.processes + 1)); !set) return set;
    if (auto set = set_cpus(limits.cpus_milli); !set) return set;
    auto used = read_kernel_number(usage_fd_.get());
    if (!used) return std::unexpected(used.error());
    memory_base_ = *used;
    if (auto set = set_memory(memory_base_ + limits.memory_bytes); !set) return set;
    if (auto reset = write_kernel_file(memory_ + "/memory.max_usage_in_bytes", "0"); !reset) return reset;
    auto now = read_counters();
    if (!now) return std::unexpected(now.error());
    base_ = *now;
    return {};
  }

  core::Result<std::uint64_t> cpu_ns() override {
    auto total = read_kernel_number(cpu_fd_.get());
    if (!total) return total;
    return *total - base_.cpu_ns;
  }

  core::Result<CgroupUsage> usage() override {
    auto now = read_counters();
    if (!now) return now;
    now->cpu_ns -= base_.cpu_ns;
    now->user_ns -= base_.user_ns;
    now->system_ns -= base_.system_ns;
    now->oom_kills -= base_.oom_kills;
    now->throttled_ns -= base_.throttled_ns;
    auto peak = read_kernel_file(memory_ + "/memory.max_usage_in_bytes");
    auto stat = read_kernel_file(memory_ + "/memory.stat");
    if (!peak || !stat) return std::unexpected(peak ? stat.error() : peak.error());
    const std::uint64_t peak_bytes = std::stoull(*peak);
    now->memory_peak_bytes = peak_bytes > memory_base_ ? peak_bytes - memory_base_ : 0;
    now->memory_anon_bytes = keyed_number(*stat, "rss");
    now->memory_file_bytes = keyed_number(*stat, "cache");
    if (auto events = read_kernel_file(step_ + "/pids.events")) now->pids_max_hits = keyed_number(*events, "max");
    if (auto processes = read_kernel_file(step_ + "/pids.peak")) {  // since Linux 6.10
      const std::uint64_t all = std::stoull(*processes);
      now->processes_peak = all > 1 ? all - 1 : 1;  // without our init
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

  core::Status end() override {
    attach_.reset();
    if (!step_.empty()) {
      if (rmdir(step_.c_str()) != 0 && errno != ENOENT) return core::errno_error("rmdir " + step_);
      step_.clear();
    }
    // What is charged now belongs to no program. A little may stay: the next step's figures are differences. Much of it would
    // be memory that the next program could reclaim for itself beyond its limit, so it is given back.
    const auto used = usage_fd_.valid() ? read_kernel_number(usage_fd_.get()) : core::Result<std::uint64_t>(0);
    if (used && *used > kKeepCacheBytes) (void)write_kernel_file(memory_ + "/memory.force_empty", "0");
    (void)take_oom_event();
    return {};
  }

 private:
  core::Status open_files() {
    const auto open_into = [](core::Fd& into, const std::string& path) -> core::Status {
      auto fd = open_kernel_file(path, O_RDONLY);
      if (!fd) return std::unexpected(fd.error());
      into = std::move(*fd);
      return {};
    };
    if (auto opened = open_into(cpu_fd_, cpuacct_ + "/cpuacct.usage"); !opened) return opened;
    if (auto opened = open_into(user_fd_, cpuacct_ + "/cpuacct.usage_user"); !opened) return opened;
    if (auto opened = open_into(system_fd_, cpuacct_ + "/cpuacct.usage_sys"); !opened) return opened;
    if (auto opened = open_into(usage_fd_, memory_ + "/memory.usage_in_bytes"); !opened) return opened;
    if (auto opened = open_into(cpu_stat_fd_, cpu_ + "/cpu.stat"); !opened) return opened;
    if (auto opened = open_into(oom_control_fd_, memory_ + "/memory.oom_control"); !opened) return opened;
    oom_fd_ = core::Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!oom_fd_.valid()) return core::errno_error("eventfd");
    swap_accounted_ = access((memory_ + "/memory.memsw.limit_in_bytes").c_str(), F_OK) == 0;
    if (!swap_accounted_)
      if (auto set = write_kernel_file(memory_ + "/memory.swappiness", "0"); !set) return set;
    return write_kernel_file(memory_ + "/cgroup.event_control",
                             std::to_string(oom_fd_.get()) + " " + std::to_string(oom_control_fd_.get()));
  }

  core::Status set_cpus(std::uint64_t cpus_milli) {
    if (cpus_milli == set_cpus_milli_) return {};
    const long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const std::uint64_t quota = std::max(kMinQuotaUs, cpus_milli * kPeriodUs / 1000);
    const bool unlimited = cpus_milli >= static_cast<std::uint64_t>(host_cpus) * 1000;
    if (auto set = write_kernel_file(cpu_ + "/cpu.cfs_period_us", std::to_string(kPeriodUs)); !set) return set;
    if (auto set = write_kernel_file(cpu_ + "/cpu.cfs_quota_us", unlimited ? "-1" : std::to_string(quota)); !set) return set;
    set_cpus_milli_ = cpus_milli;
    return {};
  }

  core::Status set_memory(std::uint64_t bytes) {
    if (bytes == set_memory_bytes_) return {};
    // memory+swap may never be below memory, so the order depends on the direction; equal limits mean no swap.
    std::vector<std::string> files = {memory_ + "/memory.memsw.limit_in_bytes", memory_ + "/memory.limit_in_bytes"};
    if (!swap_accounted_) files.erase(files.begin());
    if (bytes < set_memory_bytes_ && files.size() == 2) std::swap(files[0], files[1]);
    for (const auto& file : files)
      if (auto set = write_kernel_file(file, std::to_string(bytes)); !set) return set;
    set_memory_bytes_ = bytes;
    return {};
  }

  /// Counters that only grow.
  core::Result<CgroupUsage> read_counters() {
    CgroupUsage counters;
    const auto total = read_kernel_number(cpu_fd_.get()), user = read_kernel_number(user_fd_.get()),
               system = read_kernel_number(system_fd_.get());
    const auto control = read_kernel_file(oom_control_fd_.get()), cpu = read_kernel_file(cpu_stat_fd_.get());
    if (!total || !user || !system) return core::error(core::ErrorKind::internal, "cpuacct could not be read");
    if (!control || !cpu) return core::error(core::ErrorKind::internal, "memory.oom_control or cpu.stat could not be read");
    counters.cpu_ns = *total;
    counters.user_ns = *user;
    counters.system_ns = *system;
    counters.oom_kills = keyed_number(*control, "oom_kill");
    counters.throttled_ns = keyed_number(*cpu, "throttled_time");
    return counters;
  }

  std::string memory_, cpu_, cpuacct_, pids_, cpuset_, step_;
  core::Fd attach_, cpu_fd_, user_fd_, system_fd_, usage_fd_, cpu_stat_fd_, oom_control_fd_, oom_fd_;
  CgroupUsage base_;
  std::uint64_t memory_base_ = 0, set_cpus_milli_ = 0, set_memory_bytes_ = UINT64_MAX;
  bool swap_accounted_ = false;
};

}  // namespace

std::unique_ptr<Station> make_station_v1(std::string memory, std::string cpu, std::string cpuacct, std::string pids, std::string cpuset) {
  return std::make_unique<StationV1>(std::move(memory), std::move(cpu), std::move(cpuacct), std::move(pids), std::move(cpuset));
}

}  // namespace bailiff::sandbox
