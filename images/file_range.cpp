#include "images/file_range.h"

#include <sys/vfs.h>

namespace bailiff::images {

core::Result<std::string> read_whole(int fd, Extent extent, std::uint64_t most) {
  if (extent.size > most) return core::error(core::ErrorKind::invalid, "a document is larger than " + std::to_string(most) + " bytes");
  std::string text;
  text.reserve(extent.size);
  auto done = read_extent(fd, extent, [&](std::string_view piece) -> core::Status {
    text += piece;
    return {};
  });
  if (!done) return std::unexpected(std::move(done.error()));
  return text;
}

core::Status write_at(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
      auto failed = core::errno_error("write");
      if (full) failed.error().kind = core::ErrorKind::unavailable;
      return failed;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

core::Status check_disk(int fd, std::uint64_t more, std::uint64_t floor) {
  struct statfs disk{};
  if (::fstatfs(fd, &disk) != 0) return core::errno_error("look at the disk");
  if (disk.f_blocks == 0) return {};  // a file system without a size: memory
  const std::uint64_t free = static_cast<std::uint64_t>(disk.f_bavail) * static_cast<std::uint64_t>(disk.f_bsize);
  if (free >= floor && free - floor >= more) return {};
  return core::error(core::ErrorKind::unavailable, "the disk of the images is full");
}

}  // namespace bailiff::images
