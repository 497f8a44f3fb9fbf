#include "bench/cost.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/figures.h"
#include "bench/rig.h"
#include "sandbox/cgroup.h"
#include "tests/system/host_census.h"

namespace bailiff::bench {
namespace {

using Clock = std::chrono::steady_clock;
namespace census = system_tests;

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The number behind the first `key` in the file, 0 where there is none.
double number_in(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  double value = 0;
  for (std::string word; in >> word;)
    if (word == key) return in >> value, value;
  return 0;
}

struct Machine {
  std::size_t processes = 0, fds = 0, mounts = 0, cgroups = 0;
  double pss_kib = 0;  // of the launcher and all below it
  bool operator==(const Machine&) const = default;
};

Machine look(const Rig& rig) {
  Machine now;
  for (const auto& process : census::processes_below(rig.launcher())) {
    const std::string directory = "/proc/" + std::to_string(process.pid);
    ++now.processes;
    now.fds += census::open_descriptors(process.pid);
    now.pss_kib += number_in(directory + "/smaps_rollup", "Pss:");
    const std::string mounts = text_of(directory + "/mountinfo");
    now.mounts += static_cast<std::size_t>(std::count(mounts.begin(), mounts.end(), '\n'));
  }
  now.cgroups = census::cgroups_named("bailiff." + std::to_string(rig.launcher())).size();
  return now;
}

/// When what a slot does after its last step is done: nothing changes any more.
Machine look_when_quiet(const Rig& rig) {
  constexpr int kTries = 200, kEqualInARow = 5;
  Machine now;
  for (int tries = 0, equal = 0; tries < kTries && equal < kEqualInARow; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Machine next = look(rig);
    equal = next == now ? equal + 1 : 0;
    now = next;
  }
  return now;
}

/// A v1 memory group of this process and all that it starts from now on: what the kernel charges for them, its own objects included.
class MemoryGroup {
 public:
  MemoryGroup() {
    const auto found = sandbox::parse_hierarchies(text_of("/proc/self/mountinfo"), text_of("/proc/self/cgroup"));
    if (found.memory.empty() || found.memory == found.unified_root || found.unified) return;
    parent_ = found.memory;
    path_ = parent_ + "/bailiff-bench." + std::to_string(getpid());
    if (mkdir(path_.c_str(), 0755) != 0) give_up("cannot make " + path_);
    std::ofstream(path_ + "/cgroup.procs") << getpid();
  }
  ~MemoryGroup() {
    if (path_.empty()) return;
    std::ofstream(parent_ + "/cgroup.procs") << getpid();
    for (int tries = 0; rmdir(path_.c_str()) != 0 && tries < 1000; ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  MemoryGroup(const MemoryGroup&) = delete;
  [[nodiscard]] bool exists() const { return !path_.empty(); }
  [[nodiscard]] double used_kib() const {
    double bytes = 0;
    std::ifstream(path_ + "/memory.usage_in_bytes") >> bytes;
    return bytes / 1024;
  }

 private:
  std::string parent_, path_;
};

struct Cost {
  Machine machine;
  double charged_kib, available_kib;
};

Cost cost_of(unsigned slots, const MemoryGroup& group) {
  const double available_before = number_in("/proc/meminfo", "MemAvailable:");
  const Rig rig(slots);
  const Machine machine = look_when_quiet(rig);
  return {machine, group.exists() ? group.used_kib() : 0, available_before - number_in("/proc/meminfo", "MemAvailable:")};
}

}  // namespace

void print_idle_cost(unsigned more_slots) {
  const MemoryGroup group;
  const Cost one = cost_of(1, group), many = cost_of(1 + more_slots, group);
  const auto each = [&](double before, double after) { return number((after - before) / more_slots, 1); };
  std::printf("an idle slot with its prepared sandbox, from %u slots more:\n", more_slots);
  Table table({"", "each"});
  const auto add_count = [&](const char* what, std::size_t Machine::* member) {
    table.add({what, each(static_cast<double>(one.machine.*member), static_cast<double>(many.machine.*member))});
  };
  add_count("processes", &Machine::processes);
  add_count("descriptors", &Machine::fds);
  add_count("cgroups, all hierarchies", &Machine::cgroups);
  table.add({"Pss of its processes, KiB", each(one.machine.pss_kib, many.machine.pss_kib)});
  if (group.exists()) table.add({"all charged, kernel objects too, KiB", each(one.charged_kib, many.charged_kib)});
  table.add({"MemAvailable, KiB (others change it too)", each(one.available_kib, many.available_kib)});
  table.print();
}

void print_drift(int steps) {
  Rig rig(1);
  const auto run_one = [&] {
    const auto start = Clock::now();
    (void)run_well(rig.slot(0), request_for({"/bin/true"}, core::default_limits()));
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  for (int i = 0; i < 100; ++i) (void)run_one();
  const Machine before = look_when_quiet(rig);
  std::vector<double> took;
  for (int i = 0; i < steps; ++i) took.push_back(run_one());
  const Machine after = look_when_quiet(rig);
  const auto tenth = std::max<std::ptrdiff_t>(1, steps / 10);
  const Distribution first({took.begin(), took.begin() + tenth}), last({took.end() - tenth, took.end()});
  std::printf("%d steps in a row\n", steps);
  Table table({"", "first", "last", "last / first"});
  const auto add = [&](const char* what, double then, double now, int digits) {
    table.add({what, number(then, digits), number(now, digits), number(now / then, 3)});
  };
  add("median of a tenth, ms", first.median(), last.median(), 3);
  add("99th percentile of a tenth, ms", first.p99(), last.p99(), 3);
  add("Pss, KiB", before.pss_kib, after.pss_kib, 0);
  add("processes", static_cast<double>(before.processes), static_cast<double>(after.processes), 0);
  add("descriptors", static_cast<double>(before.fds), static_cast<double>(after.fds), 0);
  add("mounts", static_cast<double>(before.mounts), static_cast<double>(after.mounts), 0);
  add("cgroups", static_cast<double>(before.cgroups), static_cast<double>(after.cgroups), 0);
  table.print();
}

}  // namespace bailiff::bench
