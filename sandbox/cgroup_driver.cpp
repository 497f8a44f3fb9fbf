#include "sandbox/cgroup_driver.h"

#include <unistd.h>

#include <array>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::array<std::pair<CgroupDriver, std::string_view>, 3> kNames = {
    {{CgroupDriver::automatic, "auto"}, {CgroupDriver::cgroupfs, "cgroupfs"}, {CgroupDriver::systemd, "systemd"}}};

std::unexpected<core::Error> unusable(CgroupDriver driver, const std::string& why, const char* fix) {
  return core::error(core::ErrorKind::unavailable,
                     "the cgroup driver " + std::string(name(driver)) + " cannot work here: " + why + ". " + fix);
}

/// Nobody but this process is in its group.
bool is_alone(const CgroupHierarchies& own) { return group_members(own.memory) == std::vector<pid_t>{getpid()}; }

DriverChoice cgroupfs(std::string why) { return {CgroupDriver::cgroupfs, std::move(why), std::nullopt}; }

/// Of a machine where systemd is PID 1 and answers.
core::Result<DriverChoice> choose_beside(Systemd systemd, CgroupDriver wanted, const CgroupHierarchies& own) {
  const bool delegated = systemd.delegated_us_our_group().value_or(false);
  // On v1 it takes controllers back from units that do not need them for itself, and removes the groups that are there, ours as well.
  if (wanted == CgroupDriver::cgroupfs && !own.unified && !delegated)
    return unusable(wanted, "with cgroup v1, systemd removes groups that it has not delegated",
                    "Set cgroup.driver to systemd or auto, or Delegate=yes in the unit");
  if (wanted == CgroupDriver::cgroupfs) return cgroupfs("as configured");
  if (wanted == CgroupDriver::automatic && delegated && is_alone(own))
    return cgroupfs("systemd delegated the group that this process is alone in");
  return DriverChoice{CgroupDriver::systemd, "a delegated scope, made by systemd " + systemd.version(), std::move(systemd)};
}

}  // namespace

std::string_view name(CgroupDriver driver) {
  for (const auto& [value, text] : kNames)
    if (value == driver) return text;
  return "unknown";
}

core::Result<CgroupDriver> cgroup_driver_from_name(std::string_view name) {
  for (const auto& [value, text] : kNames)
    if (text == name) return value;
  return core::error(core::ErrorKind::invalid, "there is no cgroup driver \"" + std::string(name) + "\": auto, cgroupfs or systemd");
}

core::Result<DriverChoice> choose_cgroup_driver(CgroupDriver wanted, const std::string& root, std::chrono::milliseconds patience) {
  const auto without_systemd = [&](const std::string& why, const char* fix) -> core::Result<DriverChoice> {
    if (wanted == CgroupDriver::systemd) return unusable(wanted, why, fix);
    return cgroupfs(wanted == CgroupDriver::cgroupfs ? "as configured" : why);
  };
  if (access((root + "/run/systemd/system").c_str(), F_OK) != 0)  // what sd_booted(3) looks at
    return without_systemd("this machine was not started by systemd (there is no /run/systemd/system)",
                           "Set cgroup.driver to cgroupfs or auto");
  auto systemd = Systemd::connect(patience);
  if (!systemd)
    return without_systemd("systemd does not answer on the system bus: " + systemd.error().what,
                           "Install and start dbus, or set cgroup.driver to cgroupfs or auto");
  const auto own = hierarchies_of("self", root);
  if (!own) return std::unexpected(own.error());
  return choose_beside(std::move(*systemd), wanted, *own);
}

}  // namespace bailiff::sandbox
