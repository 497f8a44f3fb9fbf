#pragma once
// A copy of the database of a server that may be running meanwhile.
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/result.h"

namespace bailiff::storage {

struct Backup {
  std::string database, copy;  // paths; the copy must not exist, and does not where this fails
  /// Who reads the database, where we are root: its directory belongs to a user without rights, who could place links there for us to
  /// follow. The copy is made with our own rights.
  std::optional<uid_t> reader_uid;
  std::optional<gid_t> reader_gid;
  std::function<void(std::uint64_t done_bytes, std::uint64_t all_bytes)> progress = {};
};

/// As things stand when it begins; what is written meanwhile is not in it and does not wait. The copy is on the disk, was read back and is
/// whole when this returns its bytes. One thread in the whole process. invalid: no database of Bailiff's; conflict: the copy exists.
core::Result<std::uint64_t> back_up(const Backup& backup);

}  // namespace bailiff::storage
