#include "images/archive_unpack.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json/json.h"
#include "images/import_worker.h"

namespace bailiff::images {
namespace {

using core::Json;

std::unexpected<core::Error> nonsense() { return core::error(core::ErrorKind::internal, "the importer says nothing sensible"); }

/// Of core::content_to_json().
std::optional<std::string> text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  const auto encoded = value.is_object() ? value.find("base64") : value.end();
  return encoded != value.end() && encoded->is_string() ? core::base64_decode(encoded->get<std::string>()) : std::nullopt;
}

/// The worker read a stranger's bytes, so nothing that it says is taken for granted.
core::Result<std::vector<UnpackedArchive::Entry>> understand(const Json& document, std::uint64_t spooled, const UnpackBounds& bounds) {
  const auto files = document.find("files");
  if (files == document.end() || !files->is_array()) return nonsense();
  const auto refused = [](std::uint64_t most, const char* what) {
    return core::error(core::ErrorKind::invalid, "there are more than " + std::to_string(most) + " " + what + " in it");
  };
  if (files->size() > bounds.entries) return refused(bounds.entries, "entries");
  std::uint64_t bytes = 0;  // each name of a file with several is a file of its own in the workspace
  std::vector<UnpackedArchive::Entry> entries;
  for (const Json& file : *files) {
    if (!file.is_array() || file.size() != 6 || !file[0].is_number_unsigned() || !file[2].is_boolean() || !file[4].is_number_unsigned() ||
        !file[5].is_number_unsigned())
      return nonsense();
    const auto kind = file[0].get<std::uint64_t>();
    auto path = text_of(file[1]), target = text_of(file[3]);
    const Extent data{file[4].get<std::uint64_t>(), file[5].get<std::uint64_t>()};
    if (kind > static_cast<std::uint64_t>(FileNode::Kind::symlink) || !path || !target || data.offset > spooled ||
        data.size > spooled - data.offset)
      return nonsense();
    bytes += data.size;
    if (bytes > bounds.bytes) return refused(bounds.bytes, "bytes");
    const auto names = safe_names(*path);
    if (!names || names->empty()) return nonsense();
    entries.push_back({static_cast<FileNode::Kind>(kind), std::move(*path), file[2].get<bool>(), std::move(*target), data});
  }
  return entries;
}

}  // namespace

core::Result<UnpackedArchive> unpack_archive(const ImportWorker& worker, int archive, const UnpackBounds& bounds) {
  UnpackedArchive unpacked;
  unpacked.bytes = core::Fd(::memfd_create("bailiff-archive", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!unpacked.bytes.valid()) return core::errno_error("memfd_create");
  const auto deadline = std::chrono::steady_clock::now() + bounds.at_most;
  const auto document = worker.run({"unpack", std::to_string(bounds.bytes), std::to_string(bounds.entries)},
                                   {{archive, STDIN_FILENO}, {unpacked.bytes.get(), kSpoolFd}}, deadline);
  if (!document && document.error().kind == core::ErrorKind::unavailable)  // nor would it be done the next time
    return core::error(core::ErrorKind::invalid, "it takes longer than " + std::to_string(bounds.at_most.count()) + " s");
  if (!document) return std::unexpected(document.error());
  // Nobody else holds it any more; nor may what it says of its size change.
  if (::fcntl(unpacked.bytes.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return core::errno_error("seal what was unpacked");
  struct stat info{};
  if (::fstat(unpacked.bytes.get(), &info) != 0) return core::errno_error("look at what was unpacked");
  auto entries = understand(*document, static_cast<std::uint64_t>(info.st_size), bounds);
  if (!entries) return std::unexpected(entries.error());
  unpacked.entries = std::move(*entries);
  return unpacked;
}

}  // namespace bailiff::images
