#pragma once
// Which descriptors a process keeps.
#include <vector>

namespace bailiff::sandbox {

/// Closes every descriptor of this process that is not in `kept`. False: errno says why; some may still be open.
[[nodiscard]] bool close_all_but(std::vector<int> kept);

}  // namespace bailiff::sandbox
