// An archive that becomes an image. Whatever it is, it stays within its bounds and makes a tree of safe names, or is refused.
#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/fd.h"
#include "images/archive.h"
#include "tests/fuzz/fuzz.h"

namespace bailiff::fuzz {
namespace {

using namespace images;

constexpr std::uint64_t kMostBytes = 1 << 20, kMostEntries = 1000;

void check(const FileNode& node, std::size_t depth, std::uint64_t& entries) {
  require(depth <= kMaxDepth);
  for (const auto& [name, child] : node.children) {
    require(!name.empty() && name != "." && name != ".." && name.size() <= kMaxNameBytes);
    require(name.find('/') == std::string::npos && name.find('\0') == std::string::npos);
    ++entries;
    check(*child, depth + 1, entries);
  }
}

/// An archive of a few entries of each kind.
std::string made(int (*format)(archive*), int (*filter)(archive*)) {
  std::string bytes(256 * 1024, '\0');
  std::size_t used = 0;
  archive* writer = archive_write_new();
  format(writer);
  filter(writer);
  archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
  struct Entry {
    const char* name;
    mode_t type;
    const char* text;
  };
  for (const auto& [name, type, text] :
       {Entry{"d/", AE_IFDIR, ""}, Entry{"d/f", AE_IFREG, "hello"}, Entry{"l", AE_IFLNK, "d/f"}, Entry{"d/.wh.f", AE_IFREG, ""},
        Entry{"../up", AE_IFREG, "x"}, Entry{"out", AE_IFLNK, "/etc/passwd"}}) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0755);
    if (type == AE_IFLNK) archive_entry_set_symlink(entry, text);
    else archive_entry_set_size(entry, type == AE_IFREG ? static_cast<std::int64_t>(std::string_view(text).size()) : 0);
    archive_write_header(writer, entry);
    if (type == AE_IFREG) archive_write_data(writer, text, std::string_view(text).size());
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  bytes.resize(used);
  return bytes;
}

}  // namespace

std::vector<std::string> seeds() {
  return {made(archive_write_set_format_pax_restricted, archive_write_add_filter_none),
          made(archive_write_set_format_gnutar, archive_write_add_filter_none),
          made(archive_write_set_format_ustar, archive_write_add_filter_gzip),
          made(archive_write_set_format_ustar, archive_write_add_filter_zstd)};
}

}  // namespace bailiff::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  using namespace bailiff::images;
  static const core::Fd input(::memfd_create("input", MFD_CLOEXEC)), spool_file(::memfd_create("spool", MFD_CLOEXEC));
  fuzz::require(::ftruncate(input.get(), 0) == 0 && ::ftruncate(spool_file.get(), 0) == 0);
  fuzz::require(::pwrite(input.get(), data, size, 0) == static_cast<ssize_t>(size));
  ImportBounds bounds;
  bounds.bytes = fuzz::kMostBytes;
  bounds.entries = fuzz::kMostEntries;
  bounds.free_bytes = fuzz::kMostBytes;
  bounds.disk_floor_bytes = 0;
  for (const auto kind : {ArchiveKind::tree, ArchiveKind::layer}) {
    Spool spool(spool_file.get(), bounds);
    FileTree tree;
    const auto read = read_archive({input.get(), {0, size}, false}, kind, 1, spool, tree);
    fuzz::require(spool.end() <= fuzz::kMostBytes);
    std::uint64_t entries = 0;
    if (read) fuzz::check(tree.root(), 0, entries);
  }
  return 0;
}
