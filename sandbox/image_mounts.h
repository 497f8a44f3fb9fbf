#pragma once
// The roots of all images in the launcher's mount namespace, and how they reach the slots.
//
// Theory of operation. The run directory is a tmpfs of the launcher's own, shared (mount_namespaces(7)) with the slots, whose copies are
// slaves of it: what the launcher mounts or unmounts there shows in every slot, and nothing that a slot does shows anywhere else. A root is
// built in a corner that is not shared and then bound where slots look, whole, by one call. Spawners and sandboxes have private copies.
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::sandbox {

/// "sha256-<64 hexadecimal digits>": an image of the images directory.
[[nodiscard]] bool is_stored_image(std::string_view name);

/// Where the root of an image is, in the launcher and in slots.
[[nodiscard]] std::string image_directory(const std::string& run_directory, const std::string& image);
/// True when such a directory is the root of an image, and not only where one was or will be.
[[nodiscard]] bool is_image_root(const std::string& directory);
/// Enters a mount namespace of its own. Before a directory is opened whose mounts are to be shown: those of another namespace cannot be.
core::Status leave_host_mounts();
/// Called by a slot in a mount namespace of its own.
core::Status follow_image_mounts(const std::string& run_directory);

class ImageMounts {
 public:
  /// Most images of the images directory at one time.
  static constexpr std::size_t kMost = 1024;

  /// After leave_host_mounts(). Looks up `images_directory` (empty: none) before the run directory hides anything.
  core::Status start(const std::string& run_directory, const std::string& images_directory);
  core::Status add(const Image& image);
  /// Adds the image that the caller names: a content file "<name>.erofs" of the images directory. From here on nobody but root can
  /// change it: it becomes root's, read-only, and whoever still has it open for writing is a reason to refuse it. Harmless when it is
  /// there already.
  core::Status add_stored(const std::string& name);
  /// Takes it away from future steps; what runs keeps it. Harmless when it is not there.
  core::Status remove_stored(const std::string& name);

 private:
  core::Status show(const Image& image);
  std::string run_directory_;
  core::Fd images_;
  std::vector<std::string> stored_;
};

}  // namespace bailiff::sandbox
