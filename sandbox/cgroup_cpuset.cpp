#include "sandbox/cgroup_cpuset.h"

#include <algorithm>
#include <charconv>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr unsigned kMostCpus = 8192;  // CONFIG_NR_CPUS at its largest

std::optional<unsigned> number(std::string_view digits) {
  unsigned value = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (fault != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::set<unsigned>> parse_cpu_list(std::string_view list) {
  std::set<unsigned> cpus;
  for (std::string_view rest = list; !rest.empty();) {
    const auto range = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), range.size() + 1));
    const auto dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == range.npos ? first : number(range.substr(dash + 1));
    if (!first || !last || *first > *last || *last >= kMostCpus) return std::nullopt;
    for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.insert(cpu);
  }
  if (cpus.empty()) return std::nullopt;
  return cpus;
}

core::Status check_cpus(std::string_view wanted, std::string_view available) {
  available = available.substr(0, available.find('\n'));
  const auto cpus = parse_cpu_list(wanted), all = parse_cpu_list(available);
  const std::string quoted = "slot_cpus: \"" + std::string(wanted) + "\"";
  if (!cpus) return core::error(core::ErrorKind::invalid, quoted + " is no list of CPUs such as 0 or 2-3");
  if (!all || !std::includes(all->begin(), all->end(), cpus->begin(), cpus->end()))
    return core::error(core::ErrorKind::invalid, quoted + " names CPUs that we do not have; we have " + std::string(available));
  return {};
}

core::Status set_cpuset_v1(const std::string& base, const std::string& group, const std::string& cpus) {
  const std::string parent = base.substr(0, base.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    const auto inherited = read_kernel_file(parent + file);
    if (!inherited) return std::unexpected(inherited.error());
    const std::string all = inherited->substr(0, inherited->find('\n'));
    if (auto set = write_kernel_file(base + file, all); !set) return set;
    const bool pinned = !cpus.empty() && std::string_view(file) == "/cpuset.cpus";
    if (auto set = write_kernel_file(group + file, pinned ? cpus : all); !set) return set;
  }
  return {};
}

}  // namespace bailiff::sandbox
