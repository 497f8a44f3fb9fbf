#pragma once
// Writes a FileTree as an EROFS file system (linux/Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h): uncompressed, so that
// programs
// and the page cache share the very pages of the file. The bytes follow from the tree alone (no clock, no random UUID), so their digest
// names the content.
#include <cstdint>
#include <string>

#include "core/result.h"
#include "images/file_tree.h"

namespace bailiff::images {

/// Writes to `out` (an empty file) from offset 0; `spool` holds the bytes of the tree's files. The size of what was written.
core::Result<std::uint64_t> write_erofs(const FileTree& tree, int spool, int out);

}  // namespace bailiff::images
