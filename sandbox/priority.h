#pragma once
// Which process the scheduler runs first.

namespace bailiff::sandbox {

/// This process is run as soon as it wakes, before programs that keep every CPU busy; what it forks is scheduled as anybody. A supervisor
/// that has to wait for the scheduler's tick (4 ms) finds a limit overrun by as much. Without CAP_SYS_NICE nothing changes.
void run_before_others();

}  // namespace bailiff::sandbox
