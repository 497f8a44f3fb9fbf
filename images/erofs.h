#pragma once
// Writes a FileTree as an EROFS file system (linux/Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h): uncompressed, so that
// programs
// and the page cache share the very pages of the file. The bytes follow from the tree alone (no clock, no random UUID), so their digest
// names the content.
#include <cstdint>
#include <string>

#include "core/result.h"
#include "images/archive.h"
#include "images/file_tree.h"

namespace bailiff::images {

/// Writes to `out` (an empty file) from offset 0; `spool` holds the bytes of the tree's files. Files of one extent share their blocks. The
/// size of what was written. ErrorKind::invalid, before anything is written: it would be larger than the spool's bounds allow;
/// unavailable: the disk has no room for it.
core::Result<std::uint64_t> write_erofs(const FileTree& tree, const Spool& spool, int out);

}  // namespace bailiff::images
