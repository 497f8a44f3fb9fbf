#pragma once
// `bailiff backup`: a copy of the database of this machine's server, running or not.
#include <string>

#include "cli/failure.h"
#include "cli/terminal.h"

namespace bailiff::cli {

struct BackupOptions {
  std::string data = "/var/lib/bailiff";  // the server's directory
  std::string copy;                       // the file to make
  bool json = false;
};

/// Prints what it has to say and returns the exit code.
[[nodiscard]] Expected<ExitCode> back_up(const BackupOptions& options, const Console& console);

}  // namespace bailiff::cli
