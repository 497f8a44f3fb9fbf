#pragma once
// An image as a directory, for a kernel that lacks EROFS: "unpacked/sha256-<hex>" in the directory of images, with the files of the image's
// content, all of them root's. The launcher shows it where it cannot mount the content (sandbox/image_mounts.h).
#include <string>

#include "core/result.h"
#include "images/image_store.h"

namespace bailiff::images {

/// Whether this kernel can mount EROFS; asks for its module where that is how it comes. Needs root, else false.
[[nodiscard]] bool kernel_has_erofs();

/// Harmless when it is there already. Needs root and fsck.erofs (erofs-utils), which reads the content as nobody. Nothing is left of what
/// fails. unavailable: a program is missing.
core::Status unpack_image(const ImageStore& store, const std::string& digest);

/// Of content that no name stands for any more.
core::Status remove_unpacked(const std::string& images_directory, const std::string& digest);

}  // namespace bailiff::images
