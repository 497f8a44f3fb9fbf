#include "storage/as_owner.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace bailiff::storage {

AsOwner::AsOwner(uid_t uid, gid_t gid) {
  if (::geteuid() != 0) return;
  changed_ = true;
  if (::setegid(gid) != 0) failed_ = errno;
  if (::seteuid(uid) != 0) failed_ = errno;
}

AsOwner::~AsOwner() {
  if (changed_ && (::seteuid(0) != 0 || ::setegid(0) != 0)) std::abort();  // nothing may go on with rights that nobody knows
}

}  // namespace bailiff::storage
