#pragma once
// Bringing an archive into the store: starts a worker (import_worker.h) over it and takes what it made.
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/json/json.h"
#include "core/result.h"
#include "images/image_store.h"

namespace bailiff::images {

/// The worker's program, opened while it can be found and executed by whoever holds this.
class ImportWorker {
 public:
  /// bailiff-import beside the running program.
  static core::Result<ImportWorker> find();
  /// Runs it with these words and {descriptor, number that it has there}, and gives what it says. Blocks until then; at the deadline it is
  /// ended. ErrorKind::invalid: what it read is refused, with the reason, or ended it.
  core::Result<core::Json> run(const std::vector<std::string>& words, std::vector<std::pair<int, int>> given,
                               std::chrono::steady_clock::time_point deadline) const;

 private:
  explicit ImportWorker(core::Fd program) : program_(std::move(program)) {}
  core::Fd program_;
};

struct Imported {
  StoredImage image;
  std::vector<std::string> notes;  // what of it is not used, for people
};

struct ImportRequest {
  std::string name;
  std::string source{};  // what the manifest says it came from; empty: what the worker found it to be
  std::map<std::string, std::string> env{};  // over the image's own
  std::chrono::seconds at_most = std::chrono::hours(1);  // for reading the archive
  ImageStore::BeforeNamed before_named{};
};

/// What the manifest says of an image that was brought over the network: languages are not looked for in it.
inline constexpr std::string_view kSourceHttp = "http";

/// invalid: the environment, the working directory or the entrypoint is nothing that a program can be started with.
core::Status check_settings(const StoredImage& image);

/// Imports what is behind `input`: a file or pipe with an archive, or the directory of an OCI layout. Blocks. ErrorKind::invalid: the
/// archive is refused, with the reason. Nothing is left of what fails.
core::Result<Imported> import_image(const ImageStore& store, const ImportWorker& worker, const ImportRequest& request, int input);

}  // namespace bailiff::images
