#pragma once
// `bailiff image`: the images of this machine, in the directory that a server here offers too.
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/terminal.h"
#include "sandbox/client.h"

namespace bailiff::cli {

struct ImageOptions {
  std::string directory = "/var/lib/bailiff/images";
  std::string definitions;         // of images, for build; empty: those that came with the program
  std::string languages;           // definitions of languages; likewise
  std::string name, archive;       // of import; archive "-": standard input
  std::vector<std::string> names;  // of rm and build
  bool json = false;
  bool update_lock = false;        // build: take the newest packages and write the lock file
  bool if_missing = false;         // build: only what the store has not
  sandbox::CgroupDriver cgroup_driver =
      sandbox::CgroupDriver::automatic;  // of the sandbox in which the languages are asked for their versions
};

/// Each prints what it has to say and returns the exit code.
[[nodiscard]] Expected<ExitCode> list_images(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> inspect_image(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> import_archive(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> build_images(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> unpack_images(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> remove_images(const ImageOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> collect_image_garbage(const ImageOptions& options, const Console& console);

}  // namespace bailiff::cli
