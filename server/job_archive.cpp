#include "server/job_archive.h"

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

core::Status add_archive(sandbox::TreeWriter& writer, const images::UnpackedArchive& archive,
                         const std::function<bool(std::string_view path)>& is_replaced) {
  std::uint64_t end = 0;
  for (const auto& entry : archive.entries) end = std::max(end, entry.data.offset + entry.data.size);
  void* map = end == 0 ? nullptr : ::mmap(nullptr, end, PROT_READ, MAP_PRIVATE, archive.bytes.get(), 0);
  if (map == MAP_FAILED) return core::errno_error("map what was unpacked");
  const auto unmap = [end](void* mapped) { (void)::munmap(mapped, end); };
  const std::unique_ptr<void, decltype(unmap)> held(map, unmap);
  const std::string_view bytes(static_cast<const char*>(map), end);
  for (const auto& entry : archive.entries) {
    if (is_replaced(entry.path)) continue;
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
