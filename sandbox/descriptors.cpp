#include "sandbox/descriptors.h"

#include <linux/close_range.h>
#include <unistd.h>

#include <algorithm>

namespace bailiff::sandbox {

bool close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned first = 0;
  for (const int fd : kept) {
    const auto own = static_cast<unsigned>(fd);
    if (first < own && close_range(first, own - 1, 0) != 0) return false;
    first = own + 1;
  }
  return close_range(first, ~0U, 0) == 0;
}

}  // namespace bailiff::sandbox
