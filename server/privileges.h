#pragma once
// Giving up root for good: what bailiffd does between starting the launcher and parsing its first byte from a client.
// One direction only, checked by reading back, failing closed. Call with a single thread.
#include <sys/types.h>

#include <string>

#include "core/result.h"

namespace bailiff::server {

/// The unprivileged identity of bailiffd. Neither id is 0.
struct Identity {
  uid_t uid = 65534;
  gid_t gid = 65534;
};

/// `user` is a user name or "UID:GID"; empty: the system user `bailiff`, or 65534:65534 where there is none.
core::Result<Identity> find_identity(const std::string& user);

/// Of images, below the data directory.
inline constexpr const char* kImagesDirectory = "images";

/// Makes `path` (mode 0700) where it does not exist and gives it, the files of our database in it and its images directory to `owner`.
/// Refuses a directory that holds anything else, so that a slip of the hand does not give /etc away.
core::Status prepare_data_directory(const std::string& path, const Identity& owner);

/// No supplementary groups, all user and group ids `identity`'s, every capability set empty (bounding and ambient too), no_new_privs,
/// umask 077; then reads all of it back.
core::Status drop_privileges(const Identity& identity);

/// Whether this process, as it is now, may use `path` as its data directory; the error names what is in the way.
core::Status check_data_directory(const std::string& path);

}  // namespace bailiff::server
