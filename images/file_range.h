#pragma once
// Ranges of open files, read and written whole.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace bailiff::images {

/// Bytes [offset, offset + size) of the file that the reader knows.
struct Extent {
  std::uint64_t offset = 0, size = 0;
};

inline constexpr std::size_t kPieceBytes = 256 * 1024;

/// Gives every byte of the extent, in order and in pieces, to `take(std::string_view) -> core::Status`. A file that ends before is an
/// Error.
template <class Take>
core::Status read_extent(int fd, Extent extent, Take take) {
  std::vector<char> piece(std::min<std::uint64_t>(kPieceBytes, extent.size));
  while (extent.size > 0) {
    const ssize_t got = ::pread(fd, piece.data(), std::min<std::uint64_t>(piece.size(), extent.size), static_cast<off_t>(extent.offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return core::errno_error("read");
    if (got == 0) return core::error(core::ErrorKind::internal, "a file is shorter than it was");
    if (auto taken = take(std::string_view(piece.data(), static_cast<std::size_t>(got))); !taken) return taken;
    extent.offset += static_cast<std::uint64_t>(got);
    extent.size -= static_cast<std::uint64_t>(got);
  }
  return {};
}

/// All of the extent as one string; `most` bounds it.
core::Result<std::string> read_whole(int fd, Extent extent, std::uint64_t most);
/// Writes all of `bytes` at `offset`.
core::Status write_at(int fd, std::string_view bytes, std::uint64_t offset);
/// ErrorKind::unavailable: once `more` bytes are written to the file, less than `floor` would be free on its disk.
core::Status check_disk(int fd, std::uint64_t more, std::uint64_t floor);

}  // namespace bailiff::images
