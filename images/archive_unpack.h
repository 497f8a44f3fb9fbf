#pragma once
// Unpacking an archive that a job brings: a worker (import_worker.h) reads it; what is in it comes back as a list and one file of bytes.
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "images/file_tree.h"
#include "images/image_import.h"

namespace bailiff::images {

struct UnpackBounds {
  std::uint64_t bytes = 0, entries = 0;  // of all files; files, directories and links
  std::chrono::seconds at_most{60};
};

struct UnpackedArchive {
  struct Entry {
    FileNode::Kind kind = FileNode::Kind::file;
    std::string path;  // safe: relative, without "." and ".."
    bool executable = false;
    std::string target;  // symlink: any text
    Extent data;  // file: of `bytes`
  };
  std::vector<Entry> entries;  // a directory before what is in it
  core::Fd bytes;  // sealed memfd
};

/// Of a tar archive, compressed or not, or a zip file in a memfd. Blocks. ErrorKind::invalid: it is refused, with the reason.
core::Result<UnpackedArchive> unpack_archive(const ImportWorker& worker, int archive, const UnpackBounds& bounds);

}  // namespace bailiff::images
