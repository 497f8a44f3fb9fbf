#pragma once
// Building an image from Debian packages, by mmdebstrap. A definition is one TOML file, definitions/images/NAME.toml:
//
// packages = ["dash", "coreutils"]       # beside those that Debian's essential packages need, and those of the languages that name the
// image
//   suite = "bookworm"                     # the default
// sources = ["deb http://deb.debian.org/debian bookworm main"]   # default: with updates and security; a snapshot.debian.org URL pins a
// date
//   remove = ["usr/share/icons"]           # shell patterns below the root, beside what no program needs
//   [env]                                  # of every program in it
//   [files]                                # path = text
//
// NAME.lock beside it, where there is one, has a line "package=version" for every package in the image; a build that resolves otherwise
// fails.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "images/image_import.h"

namespace bailiff::images {

struct ImageDefinition {
  std::string name;
  std::vector<std::string> packages, remove;
  std::string suite = "bookworm";
  std::vector<std::string> sources = {"deb http://deb.debian.org/debian bookworm main",
                                      "deb http://deb.debian.org/debian bookworm-updates main",
                                      "deb http://deb.debian.org/debian-security bookworm-security main"};
  std::map<std::string, std::string> env, files;
};

/// Every fault is named with the file and its key, all of them joined by "; "; unknown keys are faults.
core::Result<ImageDefinition> parse_image_definition(std::string_view toml_text, std::string_view name);

/// Where the image definitions are: share/bailiff/images beside the running program's bin directory when installed, else the source tree's.
std::string default_image_definitions();
/// Names of the definitions in a directory, sorted.
core::Result<std::vector<std::string>> image_definitions(const std::string& directory);

struct BuildRequest {
  std::string directory;  // of definitions
  std::string languages;  // directory of language definitions: those whose `image` it is bring their packages
  std::string name;
  bool update_lock = false;
  int cancel = -1;  // a descriptor: readable ends the build
};

/// Called with a line about what is being done, now and then.
using Progress = std::function<void(std::string_view line)>;

/// Builds NAME and puts it into the store. Needs root and mmdebstrap. The same definition and packages give the same digest. Nothing is
/// left of what fails.
core::Result<Imported> build_image(const ImageStore& store, const ImportWorker& worker, const BuildRequest& request,
                                   const Progress& progress);

}  // namespace bailiff::images
