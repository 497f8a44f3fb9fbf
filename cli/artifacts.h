#pragma once
// `bailiff artifacts`: the files that a job left, listed or saved.
#include <string>

#include "cli/failure.h"
#include "cli/remote.h"
#include "cli/terminal.h"
#include "core/fd.h"

namespace bailiff::cli {

struct ArtifactsOptions {
  ServerOptions server;
  std::string id;
  std::string directory;  // to save them in; empty: they are listed
};

/// A new file at a path below `directory` (a descriptor), whose parents are made. The path is a stranger's: one that leads out, through a
/// link or onto a file that is there is refused.
[[nodiscard]] Expected<core::Fd> make_file_below(int directory, const std::string& path);

[[nodiscard]] Expected<ExitCode> artifacts(const ArtifactsOptions& options, const Console& console);

}  // namespace bailiff::cli
