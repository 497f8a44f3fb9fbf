#pragma once
// Mounting an EROFS image that is a file: the kernel's own file-backed mounts (CONFIG_EROFS_FS_BACKED_BY_FILE, Linux 6.12), else a loop
// device.
#include <string>

#include "core/result.h"

namespace bailiff::sandbox {

enum class ErofsBacking { file_or_loop, loop };  // loop: even where the kernel needs none, for tests

/// Mounts `file` read-only, nosuid, nodev at `directory`. A loop device goes away with the mount. Needs root.
core::Status mount_erofs(int file, const std::string& directory, ErofsBacking backing = ErofsBacking::file_or_loop);

}  // namespace bailiff::sandbox
