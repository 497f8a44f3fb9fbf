#pragma once
// Container images as others pack them: an OCI image layout (opencontainers/image-spec: image-layout.md, manifest.md, config.md,
// layer.md) and what `docker save` writes, before and after version 25. Every blob is checked against the digest that it is named by.
#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "images/archive.h"
#include "images/file_tree.h"

namespace bailiff::images {

/// What an image says about the programs in it.
struct ImageConfig {
  std::map<std::string, std::string> env;
  std::string workdir;  // empty: none
  std::vector<std::string> entrypoint;  // empty: none
};

struct LoadedImage {
  FileTree tree;
  ImageConfig config;
  std::string source;  // "rootfs", "oci", "docker"
  std::vector<std::string> notes;  // what of the image is not used, for people
};

/// Whether what was unpacked is such a container, and not a root filesystem itself.
[[nodiscard]] bool is_container(const FileTree& tree);

/// Reads the one image for this machine that is in `container`, whose bytes are in `spool`.
core::Result<LoadedImage> load_container(const FileTree& container, Spool& spool);

}  // namespace bailiff::images
