#pragma once
// A slot: takes one request at a time from its caller, runs it in a prepared sandbox, reports. Its own process, single-threaded.
#include "core/fd.h"
#include "sandbox/cgroup.h"
#include "sandbox/client.h"
#include "sandbox/seccomp_filter.h"

namespace bailiff::sandbox {

struct SlotContext {
  const LauncherConfig& config;
  const CgroupHost& cgroups;
  const SeccompFilter& filter;
  unsigned index;
  std::string run_directory;              // as image_mounts.h has it
};

std::string station_name(unsigned slot, unsigned station);
inline constexpr unsigned kStationsPerSlot = 2;

/// Runs until the caller closes its end. Returns the process's exit code: 0, or that of a failure after which the launcher must
/// replace the slot.
int run_slot(const SlotContext& context, core::Fd caller);

}  // namespace bailiff::sandbox
