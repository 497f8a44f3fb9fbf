#pragma once
// systemd, PID 1 of the machine, spoken to over the system bus: a transient scope for the launcher, a cgroup that systemd makes and then
// leaves to its owner (Delegate=yes). The scope ends, and is forgotten, with its last process.
// Sources: org.freedesktop.systemd1(5), systemd.resource-control(5), https://systemd.io/CGROUP_DELEGATION.
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/result.h"

struct sd_bus;

namespace bailiff::sandbox {

struct CgroupHierarchies;

inline constexpr std::chrono::milliseconds kSystemdPatience(10'000);

/// A connection. Errors say in systemd's own words why; all are ErrorKind::unavailable. One thread.
class Systemd {
 public:
  /// `patience`: most time for each answer, from connect() to the end of a job.
  static core::Result<Systemd> connect(std::chrono::milliseconds patience = kSystemdPatience);
  [[nodiscard]] const std::string& version() const { return version_; }
  /// True where the unit that this process is in was made with Delegate=yes, and this process is in the unit's own group, not below it.
  core::Result<bool> delegated_us_our_group();
  /// Moves `process` into a scope of its own, "bailiff-<pid>.scope", and waits until it is in it with the controllers that we need.
  /// When the machine goes down, the unit of the calling process is stopped before the scope is.
  core::Status start_scope(pid_t process);

 private:
  struct Close {
    void operator()(sd_bus* bus) const;
  };
  Systemd(std::unique_ptr<sd_bus, Close> bus, std::chrono::milliseconds patience) : bus_(std::move(bus)), patience_(patience) {}
  /// Takes what comes until `done` is positive; negative: an errno.
  core::Status until(const std::function<int()>& done, const std::string& what);

  std::unique_ptr<sd_bus, Close> bus_;
  std::chrono::milliseconds patience_;
  std::string version_;
};

/// Empty where `process_groups`, of a process that was moved into `unit`, are the unit's for each controller that a step needs; else the
/// controllers that systemd did not delegate. Pure.
std::string missing_from_scope(const CgroupHierarchies& process_groups, const std::string& unit);

}  // namespace bailiff::sandbox
