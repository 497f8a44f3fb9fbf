#pragma once
// The launcher process: cgroups, image roots, slots. It decides nothing about jobs: it starts slots, replaces dead ones, and ends all of
// them when its caller goes.
#include "core/fd.h"

namespace bailiff::sandbox {

/// Descriptors of the caller's sockets in the launcher: for slots, and for images.
inline constexpr int kLauncherSocket = 3, kImageSocket = 4;

/// Runs until the caller closes its end or SIGTERM. The exit code.
int run_launcher(core::Fd caller, core::Fd images);

}  // namespace bailiff::sandbox
