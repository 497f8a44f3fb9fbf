#pragma once
// Reads tar archives, compressed or not, and zip files into a FileTree, by libarchive.
#include <string>

#include "core/result.h"
#include "images/file_tree.h"

namespace bailiff::images {

/// The file that holds what trees refer to, appended to, and the account of what one import has cost so far.
class Spool {
 public:
  /// `fd` is an empty file that outlives the spool.
  Spool(int fd, const ImportBounds& bounds) : fd_(fd), bounds_(bounds) {}
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const ImportBounds& bounds() const { return bounds_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  /// Bytes at `offset` behind end(); holes read as zeros. ErrorKind::invalid: more than the bound.
  core::Status put(std::string_view bytes, std::uint64_t offset);
  /// What was put becomes an extent of `size` bytes, and the next one begins behind it.
  core::Result<Extent> close(std::uint64_t size);
  core::Status count_entry();
  /// Bytes of the original input were taken; what is read back from the spool is none of it.
  void count_input(std::uint64_t bytes) { input_ += bytes; }
  /// Bytes came out of an archive's filters, stored or not.
  core::Status count_output(std::uint64_t bytes);
  /// Bytes of an entry were read and left.
  core::Status count_skipped(std::uint64_t bytes);
  /// ErrorKind::invalid: so many bytes are out of proportion to the input.
  [[nodiscard]] core::Status check_ratio(std::uint64_t made) const;

 private:
  int fd_;
  const ImportBounds& bounds_;
  std::uint64_t end_ = 0, entries_ = 0, input_ = 0, output_ = 0, skipped_ = 0;
  std::uint64_t unchecked_ = 0;  // bytes since the disk was last asked for its free space
};

struct ArchiveSource {
  int fd = -1;
  Extent range;           // of the file
  bool is_stream = false; // no file but a pipe or socket: read to its end, `range` is not looked at
};

/// What an archive is for. `tree`: a root filesystem, as it is; `layer`: one whose `.wh.` names are whiteouts (OCI image-spec, layer.md).
/// Of both, entries below dev/ are left out, for every sandbox has a /dev of its own. `workspace`: files of a job; it may be a zip file.
enum class ArchiveKind { tree, layer, workspace };

/// Adds every entry as of `layer` to `tree`, later ones over earlier ones. ErrorKind::invalid, with the entry and the reason: what is no
/// archive, unsafe names, links that lead out, devices, FIFOs, sockets, whatever is beyond a bound.
core::Status read_archive(const ArchiveSource& source, ArchiveKind kind, unsigned layer, Spool& spool, FileTree& tree);

}  // namespace bailiff::images
