#pragma once
// The launcher process: cgroups, image roots, slots. It decides nothing about jobs: it starts slots, replaces dead ones, and ends all of
// them when its caller goes.
#include "core/fd.h"

namespace bailiff::sandbox {

/// Descriptor of the caller's socket in the launcher.
inline constexpr int kLauncherSocket = 3;

/// Runs until the caller closes its end or SIGTERM. The exit code.
int run_launcher(core::Fd caller);

}  // namespace bailiff::sandbox
