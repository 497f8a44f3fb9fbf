#pragma once
// Taking files out of a workspace after everything in the sandbox is dead.
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

struct Collected {
  core::Fd tree;           // sealed
  bool truncated = false;  // more matched than allowed, or something that matched could not be read
};

/// Collects the regular files, directories and symbolic links below `directory` (O_PATH is enough) whose relative path matches one of
/// `globs`, at most `max_bytes` of content. A child process does it under the program's own host id `owner`, without privileges and
/// bounded in time: no link is followed, nothing but regular files is opened, and a hostile tree can at the most make the result
/// incomplete.
core::Result<Collected> collect(int directory, const std::vector<std::string>& globs, std::uint64_t max_bytes, std::uint32_t owner);

}  // namespace bailiff::sandbox
