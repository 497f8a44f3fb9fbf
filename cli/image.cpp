#include "cli/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <numeric>

#include "cli/interrupt_watch.h"
#include "cli/language.h"
#include "cli/render.h"
#include "core/fd.h"
#include "core/json/json.h"
#include "images/image_build.h"
#include "images/image_import.h"
#include "images/image_store.h"
#include "images/unpacked.h"

namespace bailiff::cli {
namespace {

using core::Json;

std::unexpected<Failure> failure_of(const core::Error& error) {
  switch (error.kind) {
    case core::ErrorKind::invalid: return failure(kExitRefused, error.what);
    case core::ErrorKind::not_found: return failure(kExitNotFound, error.what, "`bailiff image list` shows what there is");
    case core::ErrorKind::conflict: return failure(kExitTryLater, error.what, "a server's image is removed by DELETE /v1/images/NAME");
    case core::ErrorKind::unavailable: return failure(kExitUnavailable, error.what);
    case core::ErrorKind::internal: break;
  }
  if (error.sys_errno == EACCES || error.sys_errno == EPERM)
    return failure(kExitNoPermission, error.what, "run it by sudo, or name a directory of your own by --images DIR");
  return failure(kExitInternal, error.what);
}

Expected<ExitCode> print(const Stream& stream, const std::string& text) {
  if (auto written = stream.write(text); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  return kExitOk;
}

std::string dump(const Json& document) { return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

Expected<images::ImageStore> open_store(const ImageOptions& options) {
  auto store = images::ImageStore::open(options.directory);
  if (!store) return failure_of(store.error());
  return std::move(*store);
}

/// For commands that only look: a directory that is not there holds nothing, and is not made.
Expected<std::vector<images::StoredImage>> stored_images(const ImageOptions& options) {
  if (::access(options.directory.c_str(), F_OK) != 0 && errno == ENOENT) return std::vector<images::StoredImage>{};
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  auto list = store->list();
  if (!list) return failure_of(list.error());
  return std::move(*list);
}

/// Those that were found in it, with their versions.
Json languages_of(const images::StoredImage& image) {
  Json languages = Json::object();
  for (const auto& [name, probed] : image.versions)
    if (!probed.version.empty()) languages[name] = core::to_utf8(probed.version);
  return languages;
}

Json to_json(const images::StoredImage& image) {
  return {{"name", image.name},
          {"digest", image.digest},
          {"kind", image.kind},
          {"bytes", image.bytes},
          {"source", image.source},
          {"created_at", core::iso8601_utc(image.created_us)},
          {"env", image.env},
          {"workdir", image.workdir.empty() ? Json(nullptr) : Json(core::to_utf8(image.workdir))},
          {"entrypoint", image.entrypoint},
          {"languages", languages_of(image)}};
}

Expected<ExitCode> print_new(const images::StoredImage& image, const std::vector<std::string>& notes, bool json, const Console& console) {
  for (const std::string& note : notes) (void)console.err.write(fmt::format("bailiff: {}: {}\n", image.name, sanitise_line(note)));
  if (!json) return print(console.out, fmt::format("{}  {}  {}\n", image.name, image.digest, size_text(static_cast<double>(image.bytes))));
  Json document = to_json(image);
  document["notes"] = notes;
  return print(console.out, dump(document));
}

/// Where the kernel cannot mount it.
Expected<ExitCode> unpack_where_needed(const images::ImageStore& store, const images::StoredImage& image) {
  if (::geteuid() != 0 || images::kernel_has_erofs()) return kExitOk;
  if (auto unpacked = images::unpack_image(store, image.digest); !unpacked) return failure_of(unpacked.error());
  return kExitOk;
}

/// So that a server knows them without asking. Without root it asks when it starts.
void ask_languages(const images::ImageStore& store, const images::StoredImage& image, const ImageOptions& options, const Console& console) {
  if (::geteuid() != 0) return;
  const auto found = note_languages(store, image, options.languages, options.cgroup_driver);
  const std::string line =
      !found        ? fmt::format("bailiff: {}: its languages were not asked: {}\n", image.name, sanitise_line(found.error().what))
      : *found == 0 ? ""
                    : fmt::format("bailiff: {}: has {} languages\n", image.name, *found);
  (void)console.err.write(line);
}

}  // namespace

Expected<ExitCode> list_images(const ImageOptions& options, const Console& console) {
  auto list = stored_images(options);
  if (!list) return std::unexpected(std::move(list.error()));
  if (options.json) {
    Json items = Json::array();
    for (const auto& image : *list) items.push_back(to_json(image));
    return print(console.out, dump({{"items", std::move(items)}}));
  }
  Table table;
  std::map<std::string, std::uint64_t> contents;  // a content with two names takes its room once
  for (const auto& image : *list) {
    table.add({{image.name, Colour::bold},
               {size_text(static_cast<double>(image.bytes))},
               {image.source},
               {core::iso8601_utc(image.created_us).substr(0, 19)},
               {image.digest, Colour::dim}});
    contents[image.digest] = image.bytes;
  }
  const auto total =
      std::accumulate(contents.begin(), contents.end(), std::uint64_t{0}, [](auto sum, const auto& c) { return sum + c.second; });
  return print(console.out,
               table.render(console.out.paint()) + fmt::format("{} images, {} on disk in {}\n", list->size(),
                                                               size_text(static_cast<double>(total)), sanitise_line(options.directory)));
}

Expected<ExitCode> inspect_image(const ImageOptions& options, const Console& console) {
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  auto image = store->find(options.name);
  if (!image) return failure_of(image.error());
  return print(console.out, dump(to_json(*image)));
}

Expected<ExitCode> import_archive(const ImageOptions& options, const Console& console) {
  const bool from_stdin = options.archive == "-";
  const core::Fd input(from_stdin ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : ::open(options.archive.c_str(), O_RDONLY | O_CLOEXEC));
  if (!input.valid()) return failure(kExitNoInput, core::errno_error(options.archive).error().what);
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  auto worker = images::ImportWorker::find();
  if (!worker) return failure_of(worker.error());
  auto imported = images::import_image(*store, *worker, {.name = options.name}, input.get());
  if (!imported) return failure_of(imported.error());
  if (auto usable = unpack_where_needed(*store, imported->image); !usable) return usable;
  ask_languages(*store, imported->image, options, console);
  return print_new(imported->image, imported->notes, options.json, console);
}

Expected<ExitCode> build_images(const ImageOptions& options, const Console& console) {
  if (::geteuid() != 0) return failure(kExitNoPermission, "building an image needs root, for mmdebstrap", "run it by sudo");
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  auto worker = images::ImportWorker::find();
  if (!worker) return failure_of(worker.error());
  const std::string directory = options.definitions.empty() ? images::default_image_definitions() : options.definitions;
  const InterruptWatch interrupts;
  for (const std::string& name : options.names) {
    const auto progress = [&](std::string_view line) {
      (void)console.err.write(console.err.is_terminal() ? fmt::format("\r\x1b[K{}: {}", name, sanitise_line(line).substr(0, 100))
                                                        : fmt::format("{}: {}\n", name, sanitise_line(line)));
    };
    if (options.if_missing && store->find(name)) continue;
    auto built = images::build_image(*store, *worker,
                                     {directory, options.languages.empty() ? images::default_definitions_directory() : options.languages,
                                      name, options.update_lock, interrupts.fd()},
                                     progress);
    if (console.err.is_terminal()) (void)console.err.write("\r\x1b[K");
    if (interrupts.take()) return failure(kExitCancelled, "cancelled");
    if (!built) return failure_of(built.error());
    if (auto usable = unpack_where_needed(*store, built->image); !usable) return usable;
    ask_languages(*store, built->image, options, console);
    if (auto printed = print_new(built->image, built->notes, options.json, console); !printed) return printed;
  }
  return kExitOk;
}

Expected<ExitCode> unpack_images(const ImageOptions& options, const Console& console) {
  if (::geteuid() != 0)
    return failure(kExitNoPermission, "unpacking an image needs root, which the files of it belong to", "run it by sudo");
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  for (const std::string& name : options.names) {
    const auto image = store->find(name);
    if (!image) return failure_of(image.error());
    if (auto unpacked = images::unpack_image(*store, image->digest); !unpacked) return failure_of(unpacked.error());
    if (auto printed = print(console.out, fmt::format("unpacked {}\n", name)); !printed) return printed;
  }
  return kExitOk;
}

Expected<ExitCode> remove_images(const ImageOptions& options, const Console& console) {
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  for (const std::string& name : options.names) {
    if (auto removed = store->remove(name); !removed) return failure_of(removed.error());
    if (auto printed = print(console.out, fmt::format("removed {}\n", name)); !printed) return printed;
  }
  return kExitOk;
}

Expected<ExitCode> collect_image_garbage(const ImageOptions& options, const Console& console) {
  auto store = open_store(options);
  if (!store) return std::unexpected(std::move(store.error()));
  auto collected = store->collect_garbage();
  if (!collected) return failure_of(collected.error());
  if (options.json)
    return print(console.out, dump({{"removed", collected->files}, {"bytes", collected->bytes}, {"held", collected->held}}));
  std::string text = fmt::format("removed {} files, {}", collected->files, size_text(static_cast<double>(collected->bytes)));
  if (collected->held > 0) text += fmt::format("; {} without a name are still in use", collected->held);
  return print(console.out, text + "\n");
}

}  // namespace bailiff::cli
