#pragma once
// The read-only root file system that programs of one image see, built once by the launcher and inherited by every sandbox.
#include <string>

#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::sandbox {

/// Builds the root of `image` as a small tmpfs at `directory` (which must exist) in the calling process's mount namespace: the image's
/// top-level entries bound read-only, /dev with exactly null zero full random urandom tty (ptmx by its own devpts), mount points /proc
/// /work /tmp /dev/shm /dev/pts, and for the host image an /etc made for it. `content`: an empty directory to look at an EROFS image from.
/// Whatever happens, one mount may be left at `directory`, and none at `content`. Needs root.
core::Status build_image_root(const Image& image, const std::string& directory, const std::string& content);

}  // namespace bailiff::sandbox
