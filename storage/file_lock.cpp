#include "storage/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace bailiff::storage {

core::Result<core::Fd> lock_file(const std::string& path) {
  core::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return core::errno_error("cannot open " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return core::error(core::ErrorKind::unavailable, path + ": another process uses this database");
  return core::errno_error("cannot lock " + path);
}

}  // namespace bailiff::storage
