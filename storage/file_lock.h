#pragma once
// One process at a time holds a database: an flock(2) on a file of its own beside it, gone with the process however that ends.
#include <string>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::storage {

/// The descriptor that holds the lock for as long as it is open. unavailable: another process has it.
core::Result<core::Fd> lock_file(const std::string& path);

}  // namespace bailiff::storage
