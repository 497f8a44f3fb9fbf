#pragma once
// A tree of files in one memfd: how files enter a workspace and how what a program left is taken out of it.
//
// Layout (host byte order, both ends are one machine): magic, then entries {u32 kind, u32 mode, u64 path_bytes, u64 data_bytes, path,
// data}. Paths are relative, of non-empty components that are neither "." nor ".."; the reader refuses any other, so whoever unpacks need
// not check again. A directory stands before what is in it where it is listed at all; missing parents are made.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

enum class EntryKind : std::uint32_t { file = 1, directory = 2, symlink = 3 };

struct TreeEntry {
  EntryKind kind;
  std::uint32_t mode;  // permission bits only
  std::string_view path;  // bytes as the file system has them, not necessarily UTF-8
  std::string_view data;  // file: its bytes; symlink: its target; directory: empty
};

/// True for a relative path that stays inside: no empty, "." or ".." component, no NUL, at most 4095 bytes, 255 a component.
[[nodiscard]] bool is_safe_relative_path(std::string_view path);

/// Builds a tree in a memfd. Not thread-safe.
class TreeWriter {
 public:
  TreeWriter();
  /// Writes into a memfd that somebody else made and will seal.
  explicit TreeWriter(core::Fd into);
  core::Status add(const TreeEntry& entry);
  core::Status add_file(std::string_view path, std::string_view bytes, std::uint32_t mode = 0644);
  /// Writes out what is buffered.
  core::Status flush_to_file();
  /// The sealed (unwritable) memfd. The writer is empty afterwards.
  core::Result<core::Fd> finish();

 private:
  core::Fd fd_;
  std::string buffer_;
};

/// Maps a sealed memfd and walks it. The views in entries() live as long as the reader.
class TreeReader {
 public:
  /// Fails on an fd that is not a sealed memfd, and on any malformed or unsafe entry.
  static core::Result<TreeReader> open(int fd);
  TreeReader(TreeReader&&) noexcept;
  TreeReader& operator=(TreeReader&&) = delete;
  ~TreeReader();
  [[nodiscard]] std::span<const TreeEntry> entries() const { return entries_; }

 private:
  TreeReader() = default;
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  std::vector<TreeEntry> entries_;
};

/// A sealed memfd that holds exactly `bytes`, to be a program's stdin.
core::Result<core::Fd> sealed_memfd(std::string_view bytes);
/// Makes a memfd unwritable for good.
core::Status seal_memfd(int fd);
/// An empty memfd for a stream's captured bytes: appended to by the slot, readable by its owner at any time.
core::Result<core::Fd> output_memfd();
/// All that is in a memfd (from offset 0).
core::Result<std::string> read_all(int fd);

}  // namespace bailiff::sandbox
