#include "sandbox/cgroup_driver.h"

#include <unistd.h>

#include <array>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::array<std::pair<CgroupDriver, std::string_view>, 3> kNames = {
    {{CgroupDriver::automatic, "auto"}, {CgroupDriver::cgroupfs, "cgroupfs"}, {CgroupDriver::systemd, "systemd"}}};

std::unexpected<core::Error> unusable(const std::string& why) {
  return core::error(core::ErrorKind::unavailable, "the systemd cgroup driver cannot work here: " + why +
                                                       ". Mend that, or set cgroup.driver to cgroupfs or auto");
}

/// The group of this process has Delegate=yes, and nobody else is in it.
bool has_delegated_group(Systemd& systemd) {
  if (!systemd.delegated_us_our_group().value_or(false)) return false;
  const auto own = hierarchies_of("self");
  return own && group_members(own->memory) == std::vector<pid_t>{getpid()};
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
  const auto cgroupfs = [](std::string why) { return DriverChoice{CgroupDriver::cgroupfs, std::move(why), std::nullopt}; };
  if (wanted == CgroupDriver::cgroupfs) return cgroupfs("as configured");
  const bool asked = wanted == CgroupDriver::systemd;
  if (access((root + "/run/systemd/system").c_str(), F_OK) != 0) {  // what sd_booted(3) looks at
    const std::string why = "this machine was not started by systemd (there is no /run/systemd/system)";
    return asked ? core::Result<DriverChoice>(unusable(why)) : cgroupfs(why);
  }
  auto systemd = Systemd::connect(patience);
  if (!systemd) {
    const std::string why = "systemd does not answer on the system bus (package dbus): " + systemd.error().what;
    return asked ? core::Result<DriverChoice>(unusable(why)) : cgroupfs(why);
  }
  if (!asked && has_delegated_group(*systemd)) return cgroupfs("systemd delegated the group that this process is alone in");
  return DriverChoice{CgroupDriver::systemd, "a delegated scope, made by systemd " + systemd->version(), std::move(*systemd)};
}

}  // namespace bailiff::sandbox
