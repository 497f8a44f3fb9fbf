#pragma once
// A root filesystem in memory: names, kinds and links; the bytes of files stand in a spool file. Archives are read into it, so no name of
// theirs ever reaches the host's file system: what an archive can do is to shape this tree.
//
// Owners and permissions are not kept. What is in an image is there for its programs, which all run as one user that owns none of it, so
// everybody may read everything, and execute what somebody may execute. Set-user-ID, capabilities and other attributes are gone with that.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "images/file_range.h"

namespace bailiff::images {

/// Everything that bounds an import. More is refused, with the bound named.
struct ImportBounds {
  std::uint64_t bytes = 32ULL << 30;   // of all files, of all layers and containers read on the way
  std::uint64_t entries = 1'000'000;   // likewise
  std::uint64_t layers = 256;
  std::uint64_t document_bytes = 4 << 20;  // of a manifest or configuration
  // What an import may make of its input, over all layers: past `free_bytes`, this many bytes for each byte in.
  std::uint64_t ratio = 200, free_bytes = 256 << 20;
  std::uint64_t top_entries = 256;  // in the root directory, for each is a mount of its own in every sandbox
  std::uint64_t disk_floor_bytes = 256 << 20;  // stay free on the disk that is written to
};
inline constexpr std::size_t kMaxPathBytes = 4095, kMaxNameBytes = 255, kMaxDepth = 128;

struct FileNode {
  enum class Kind { directory, file, symlink } kind = Kind::directory;
  bool executable = false;  // file
  std::int64_t mtime_s = 0;
  Extent data;              // file: in the spool
  std::string target;       // symlink
  unsigned layer = 0;       // the last that said anything about it
  std::map<std::string, std::shared_ptr<FileNode>, std::less<>> children;  // directory; a file with two names is one node under both
};

class FileTree {
 public:
  FileTree() : root_(std::make_shared<FileNode>()) {}

  /// Puts `node` at `path`, over what is there; a directory over a directory keeps its children. Parents are made; a parent that is a
  /// symlink is followed inside the tree. ErrorKind::invalid: an unsafe path, one that leads out of the tree or through a file.
  core::Status add(std::string_view path, std::shared_ptr<FileNode> node);
  /// A second name for a file or symlink. ErrorKind::invalid: the target is not there, is a directory, or either path is unsafe.
  core::Status link(std::string_view path, std::string_view target, unsigned layer);
  /// Removes what layers before `layer` put at `path`; what is not there need not be.
  core::Status remove(std::string_view path, unsigned layer);
  /// Removes what layers before `layer` put into the directory at `path`.
  core::Status clear(std::string_view path, unsigned layer);
  /// The node at `path`, symlinks on the way (and at its end) followed; null where there is none.
  [[nodiscard]] std::shared_ptr<FileNode> find(std::string_view path) const;
  [[nodiscard]] const FileNode& root() const { return *root_; }

 private:
  core::Result<std::shared_ptr<FileNode>> directory(const std::vector<std::string_view>& names, unsigned layer, bool make);
  std::shared_ptr<FileNode> root_;
};

/// The names of a path, "." left out. ErrorKind::invalid, with the reason: absolute, "..", NUL, too long, too deep.
core::Result<std::vector<std::string_view>> safe_names(std::string_view path);

}  // namespace bailiff::images
