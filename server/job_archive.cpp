#include "server/job_archive.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>

namespace bailiff::server {

Unpack unpack_with(const images::ImportWorker& worker) {
  return [&worker](std::string_view archive, const images::UnpackBounds& bounds) -> core::Result<images::UnpackedArchive> {
    const auto input = sandbox::sealed_memfd(archive);
    if (!input) return std::unexpected(input.error());
    return images::unpack_archive(worker, input->get(), bounds);
  };
}

images::UnpackBounds archive_bounds(const core::Limits& limits) {
  return {std::min(limits.workspace_bytes, kMaxArchiveBytes), std::min(limits.workspace_inodes, kMaxArchiveEntries), kUnpackTime};
}

core::Status check_placed(const images::UnpackedArchive& archive, const std::set<std::string, std::less<>>& placed) {
  using Kind = images::FileNode::Kind;
  const auto clash = [](std::string_view placed_path, std::string_view path) {
    return core::error(core::ErrorKind::invalid, fmt::format("\"{}\" cannot be placed: the archive has \"{}\"", placed_path, path));
  };
  for (const auto& entry : archive.entries) {
    if (entry.kind == Kind::directory && placed.contains(entry.path)) return clash(entry.path, entry.path + "/");
    for (auto slash = entry.path.find('/'); slash != std::string::npos; slash = entry.path.find('/', slash + 1))
      if (const auto above = placed.find(std::string_view(entry.path).substr(0, slash)); above != placed.end())
        return clash(*above, entry.path);
    if (entry.kind == Kind::directory) continue;
    const auto below = placed.lower_bound(entry.path + "/");
    if (below != placed.end() && below->starts_with(entry.path + "/")) return clash(*below, entry.path);
  }
  return {};
}

core::Status add_archive(sandbox::TreeWriter& writer, const images::UnpackedArchive& archive,
                         const std::set<std::string, std::less<>>& placed) {
  if (auto fits = check_placed(archive, placed); !fits) return fits;
  std::uint64_t end = 0;
  for (const auto& entry : archive.entries) end = std::max(end, entry.data.offset + entry.data.size);
  void* map = end == 0 ? nullptr : ::mmap(nullptr, end, PROT_READ, MAP_PRIVATE, archive.bytes.get(), 0);
  if (map == MAP_FAILED) return core::errno_error("map what was unpacked");
  const auto unmap = [end](void* mapped) { (void)::munmap(mapped, end); };
  const std::unique_ptr<void, decltype(unmap)> held(map, unmap);
  const std::string_view bytes(static_cast<const char*>(map), end);
  for (const auto& entry : archive.entries) {
    if (placed.contains(entry.path)) continue;
    using Kind = images::FileNode::Kind;
    core::Status added;
    switch (entry.kind) {
      case Kind::directory: added = writer.add({sandbox::EntryKind::directory, 0755, entry.path, {}}); break;
      case Kind::symlink: added = writer.add({sandbox::EntryKind::symlink, 0777, entry.path, entry.target}); break;
      case Kind::file:
        added = writer.add_file(entry.path, bytes.substr(entry.data.offset, entry.data.size), entry.executable ? 0755 : 0644);
    }
    if (!added) return added;
  }
  return {};
}

}  // namespace bailiff::server
