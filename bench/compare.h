#pragma once
// One trivial step (/bin/true), as a caller sees it, through everything that is compared, interleaved in one run.
#include <string>
#include <vector>

#include "bench/peers.h"

namespace bailiff::bench {

struct Setting {
  unsigned at_once = 1;  // workers, each of which runs one step after another
  int gap_ms = 0;        // of idleness before each step
  int steps = 400;       // of each subject and worker; of a slow peer fewer
  bool is_pinned = false;  // worker k, its subjects and its slot stay on CPU k modulo the number of CPUs
};

/// Of one subject.
struct Row {
  std::string subject;
  std::size_t steps = 0;
  double median_ms = 0, p99_ms = 0, steps_per_second = 0;
  double to_bare = 0;  // its median to that of a bare spawn
};

/// Starts a launcher and the workers for this one setting. Make it before any thread exists.
std::vector<Row> compare(const Setting& setting, const std::vector<Peer>& peers);

}  // namespace bailiff::bench
