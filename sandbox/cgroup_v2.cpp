#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_freezer.h"
#include "sandbox/cgroup_members.h"
#include "sandbox/disturbance.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint64_t kMinQuotaUs = 1'000;

class StationV2 final : public Station {
 public:
  StationV2(std::string base, std::string station, std::string cpus)
      : base_(std::move(base)), station_(std::move(station)), cpus_(std::move(cpus)) {}
  ~StationV2() override { (void)end(); }

  core::Status adopt_spawner(pid_t spawner, const std::string& image_root) override {
    disks_ = image_disks(image_root);
    for (const auto& group : other_groups_)
      if (auto attached = write_kernel_file(group + "/cgroup.procs", std::to_string(spawner)); !attached) return attached;
    return {};
  }

  core::Status prepare() override {
    group_ = base_ + "/" + station_ + "." + std::to_string(++number_);
    if (mkdir(group_.c_str(), 0755) != 0) return core::errno_error("mkdir " + group_);
    auto directory = open_kernel_file(group_, O_RDONLY | O_DIRECTORY);
    auto cpu = open_kernel_file(group_ + "/cpu.stat", O_RDONLY);
    auto events = open_kernel_file(group_ + "/memory.events", O_RDONLY);
    if (!directory || !cpu || !events) return core::error(core::ErrorKind::internal, "cannot open the files of " + group_);
    directory_ = std::move(*directory);
    cpu_fd_ = std::move(*cpu);
    events_fd_ = std::move(*events);
    auto pressure = open_kernel_file(group_ + "/cpu.pressure", O_RDONLY);
    pressure_fd_ = pressure ? std::move(*pressure) : core::Fd();  // absent where the kernel was told not to count it
    auto io = IoControl::open(group_, true, disks_);
    if (!io) return std::unexpected(io.error());
    io_ = std::move(*io);
    if (auto set = write_kernel_file(group_ + "/memory.oom.group", "1"); !set) return set;
    if (access((group_ + "/memory.swap.max").c_str(), F_OK) == 0)  // absent where the kernel has no swap
      if (auto set = write_kernel_file(group_ + "/memory.swap.max", "0"); !set) return set;
    if (!cpus_.empty()) return write_kernel_file(group_ + "/cpuset.cpus", cpus_);
    return {};
  }

  int clone_into() const override { return directory_.get(); }
  std::vector<std::string> groups() const override {
    std::vector<std::string> groups = other_groups_;
    groups.push_back(group_);
    return groups;
  }

  core::Status begin(const CgroupLimits& limits) override {
    const long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const std::uint64_t quota = std::max(kMinQuotaUs, limits.cpus_milli * kCpuPeriodUs / 1000);
    const bool unlimited = limits.cpus_milli >= static_cast<std::uint64_t>(host_cpus) * 1000;
    const std::string cpu_max = (unlimited ? "max" : std::to_string(quota)) + " " + std::to_string(kCpuPeriodUs);
    if (auto set = write_kernel_file(group_ + "/cpu.max", cpu_max); !set) return set;
    if (auto set = write_kernel_file(group_ + "/pids.max", std::to_string(limits.processes + 1)); !set) return set;
    if (auto set = io_.limit(limits.io); !set) return set;
    // Not memory.current: that has on top what each CPU has charged ahead for later pages, up to 256 KiB.
    const auto used = read_kernel_file(group_ + "/memory.stat");
    if (!used) return std::unexpected(used.error());
    memory_base_ = 0;
    for (const char* part : {"anon", "file", "kernel", "sock"}) memory_base_ += keyed_number(*used, part);
    memory_max_ = memory_base_ + limits.memory_bytes;
    if (auto set = write_kernel_file(group_ + "/memory.max", std::to_string(memory_max_)); !set) return set;
    auto now = read_counters();
    if (!now) return std::unexpected(now.error());
    base_usage_ = *now;
    return {};
  }

  core::Result<std::uint64_t> cpu_ns() override {
    settle_cpu_account(group_ + "/cgroup.threads");
    const auto stat = read_kernel_file(cpu_fd_.get());
    if (!stat) return std::unexpected(stat.error());
    return keyed_number(*stat, "usage_usec") * 1000 - base_usage_.cpu_ns;
  }

  void kill_programs(pid_t init) override { kill_members(group_ + "/cgroup.procs", {init}); }

  core::Result<CgroupUsage> usage() override {
    auto now = read_counters();
    if (!now) return now;
    now->cpu_ns -= base_usage_.cpu_ns;
    now->user_ns -= base_usage_.user_ns;
    now->system_ns -= base_usage_.system_ns;
    now->throttled_ns -= base_usage_.throttled_ns;
    if (now->io) *now->io = {now->io->read - base_usage_.io->read, now->io->written - base_usage_.io->written};
    if (now->cpu_pressure_us) *now->cpu_pressure_us -= base_usage_.cpu_pressure_us.value_or(0);
    const auto peak = read_kernel_file(group_ + "/memory.peak");  // since Linux 5.19
    const auto stat = read_kernel_file(group_ + "/memory.stat");
    if (!peak || !stat) return std::unexpected(peak ? stat.error() : peak.error());
    const std::uint64_t peak_bytes = std::stoull(*peak);
    now->memory_peak_bytes = peak_bytes > memory_base_ ? peak_bytes - memory_base_ : 0;
    now->memory_anon_bytes = keyed_number(*stat, "anon");
    now->memory_file_bytes = keyed_number(*stat, "file");
    now->memory_refaults = refaults_of(*stat);  // the group is new, and our set-up far below its limit
    if (auto events = read_kernel_file(group_ + "/pids.events")) now->pids_max_hits = keyed_number(*events, "max");
    if (auto processes = read_kernel_file(group_ + "/pids.peak")) {  // since Linux 6.6
      const std::uint64_t all = std::stoull(*processes);
      now->processes_peak = all > 1 ? all - 1 : 1;
    }
    return now;
  }

  int oom_fd() const override { return events_fd_.get(); }
  short oom_poll_events() const override { return POLLPRI; }
  bool take_oom_event() override {
    // Reading rearms the notification.
    const auto events = read_kernel_file(events_fd_.get());
    return events && keyed_number(*events, "oom_kill") > 0;
  }

  core::Result<MemoryState> memory_state() override {
    const auto stat = read_kernel_file(group_ + "/memory.stat");
    const auto used = read_kernel_file(group_ + "/memory.current");
    if (!stat || !used) return std::unexpected(stat ? used.error() : stat.error());
    return memory_state_of(*stat, std::stoull(*used), memory_max_);
  }

  std::uint64_t processes_now() const override {
    const auto file = read_kernel_file(group_ + "/pids.current");
    return file ? std::max(std::strtoull(file->c_str(), nullptr, 10), 1ULL) - 1 : 0;
  }

  core::Status freeze() override {
    frozen_ = true;
    return set_frozen_v2(group_, true);
  }
  core::Status thaw() override {
    if (!std::exchange(frozen_, false)) return {};
    return set_frozen_v2(group_, false);
  }
  core::Status release() override {
    if (auto lifted = io_.limit({}); !lifted) return lifted;
    return thaw();
  }

  core::Status end() override {
    directory_.reset();
    cpu_fd_.reset();
    events_fd_.reset();
    pressure_fd_.reset();
    if (group_.empty()) return {};
    // The last task leaves its group a moment after its parent could reap it; the kernel says so in cgroup.events.
    for (int tries = 0; rmdir(group_.c_str()) != 0; ++tries) {
      if (errno == ENOENT) break;
      if (errno != EBUSY || tries == kRemoveTries) return core::errno_error("rmdir " + group_);
      wait_for_event();
    }
    group_.clear();
    return {};
  }

 private:
  static constexpr int kRemoveTries = 1000;

  void wait_for_event() const {
    auto events = open_kernel_file(group_ + "/cgroup.events", O_RDONLY);
    if (!events) return;
    const auto text = read_kernel_file(events->get());
    if (text && keyed_number(*text, "populated") == 0) return;
    pollfd entry{events->get(), POLLPRI, 0};
    (void)poll(&entry, 1, 2);
  }

  core::Result<CgroupUsage> read_counters() {
    const auto stat = read_kernel_file(cpu_fd_.get());
    const auto events = read_kernel_file(events_fd_.get());
    if (!stat || !events) return core::error(core::ErrorKind::internal, "cpu.stat or memory.events could not be read");
    CgroupUsage counters;
    counters.cpu_ns = keyed_number(*stat, "usage_usec") * 1000;
    counters.user_ns = keyed_number(*stat, "user_usec") * 1000;
    counters.system_ns = keyed_number(*stat, "system_usec") * 1000;
    counters.throttled_ns = keyed_number(*stat, "throttled_usec") * 1000;
    counters.oom_kills = keyed_number(*events, "oom_kill");
    if (io_.counts()) {
      const auto io = io_.used();
      if (!io) return std::unexpected(io.error());
      counters.io = *io;
    }
    if (const auto pressure = pressure_fd_.valid() ? read_kernel_file(pressure_fd_.get()) : core::Result<std::string>(""); pressure)
      counters.cpu_pressure_us = parse_pressure_us(*pressure);
    return counters;
  }

  std::string base_, station_, cpus_, group_;
  core::Fd directory_, cpu_fd_, events_fd_, pressure_fd_;
  ImageDisks disks_;
  IoControl io_;
  CgroupUsage base_usage_;
  std::uint64_t memory_base_ = 0, memory_max_ = 0, number_ = 0;
  bool frozen_ = false;
};

}  // namespace

std::unique_ptr<Station> make_station_v2(std::string base, std::string station, std::string cpus) {
  return std::make_unique<StationV2>(std::move(base), std::move(station), std::move(cpus));
}

}  // namespace bailiff::sandbox
