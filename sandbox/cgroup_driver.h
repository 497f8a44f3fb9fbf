#pragma once
// Who makes the group that all of ours are in. A kernel has one writer for each cgroup; where systemd runs it is systemd, unless it left
// (delegated) a group to somebody else.
//  cgroupfs: the launcher makes its groups below the caller's own group (cgroup_host.cpp tells where exactly).
//  systemd: the launcher is moved into a transient scope with Delegate=yes first, which is its own and nobody else's.
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "sandbox/client.h"
#include "sandbox/systemd_scope.h"

namespace bailiff::sandbox {

/// "auto", "cgroupfs", "systemd".
[[nodiscard]] std::string_view name(CgroupDriver driver);
/// ErrorKind::invalid: there is no such driver.
core::Result<CgroupDriver> cgroup_driver_from_name(std::string_view name);

struct DriverChoice {
  CgroupDriver driver = CgroupDriver::cgroupfs;  // never automatic
  std::string why;                               // one line for an operator
  std::optional<Systemd> systemd;                // set where the driver is systemd
};
/// What `wanted` comes to on this host. `automatic` is systemd where systemd is PID 1 and answers, unless this process is alone in a
/// group that was delegated to it; else cgroupfs. `root`: "" for the real host, a directory for tests.
/// ErrorKind::unavailable: the driver does not fit the host, with what to do. systemd needs systemd; cgroupfs needs, on a v1 or hybrid
/// host where systemd answers, a group that it delegated.
core::Result<DriverChoice> choose_cgroup_driver(CgroupDriver wanted, const std::string& root = "",
                                                std::chrono::milliseconds patience = kSystemdPatience);

}  // namespace bailiff::sandbox
