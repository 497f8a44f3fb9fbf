#pragma once
// The archive that a job brings: whether it can be unpacked, and what is in it as files of the workspace.
#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "core/job.h"
#include "core/limits.h"
#include "core/result.h"
#include "images/archive_unpack.h"
#include "sandbox/tree.h"

namespace bailiff::server {

/// That is kept of an archive while its job is placed: in memory, and not the job's own.
inline constexpr std::uint64_t kMaxArchiveBytes = 256ULL << 20, kMaxArchiveEntries = 20'000;
inline constexpr std::chrono::seconds kUnpackTime{10};

/// Unpacks the bytes of an archive in a process of its own. Blocks. Any thread. ErrorKind::invalid: it is refused, with the reason.
using Unpack = std::function<core::Result<images::UnpackedArchive>(std::string_view archive, const images::UnpackBounds& bounds)>;
[[nodiscard]] Unpack unpack_with(const images::ImportWorker& worker);

/// What an archive may have in a workspace under these limits.
[[nodiscard]] images::UnpackBounds archive_bounds(const core::Limits& limits);

/// Whether these files can be placed over it: they may take the place of its files and links, of nothing else. ErrorKind::invalid: why not.
core::Status check_placed(const images::UnpackedArchive& archive, const std::set<std::string, std::less<>>& placed);
/// Adds what is in it, but what these files take the place of. As check_placed().
core::Status add_archive(sandbox::TreeWriter& writer, const images::UnpackedArchive& archive,
                         const std::set<std::string, std::less<>>& placed);

}  // namespace bailiff::server
