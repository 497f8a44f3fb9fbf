#pragma once
// What the sandbox takes from the machine while nobody asks it for anything, and after it was asked often.

namespace bailiff::bench {

/// Prints what an idle slot costs, its prepared sandbox included: the difference of a launcher with one slot and one with so many more,
/// divided by these. Moves this process into a memory group of its own where cgroup v1 is in use.
void print_idle_cost(unsigned more_slots);

/// Runs so many steps in a row through one slot and prints how the first tenth compares with the last one, and what the launcher and all
/// below it had of the machine before and after.
void print_drift(int steps);

}  // namespace bailiff::bench
