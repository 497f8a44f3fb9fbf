#pragma once
// What is done to all that is in a cgroup, by its list of processes or threads.
#include <sys/types.h>

#include <string>
#include <vector>

namespace bailiff::sandbox {

/// Brings the kernel's account of every thread's CPU time up to now. The kernel charges a running thread at the scheduler's tick (up to
/// 10 ms apart) and whenever the thread leaves its CPU or its place in the queue, and all that tells of other processes' CPU time (cpuacct,
/// cpu.stat, /proc, CPU clocks) shows what was charged last. A change of a thread's scheduling policy takes it out of its queue and puts
/// it back, so each one is made SCHED_BATCH and at once what it was: a few microseconds a thread, nothing else changes for it.
/// `threads_file`: the group's `tasks` (v1) or `cgroup.threads` (v2). Needs CAP_SYS_NICE over the threads; one that cannot be had keeps an
/// account that is a tick old, to the program's advantage.
void settle_cpu_account(const std::string& threads_file);

/// SIGKILL to every process in `processes_file` (cgroup.procs) but the `spared` ones. Never reaches a process that is not in the group,
/// even where an id changes hands meanwhile. What is born during the call may live on.
void kill_members(const std::string& processes_file, const std::vector<pid_t>& spared);

}  // namespace bailiff::sandbox
