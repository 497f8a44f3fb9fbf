#pragma once
// `bailiff key`: API keys of a server, over HTTP, or in the directory of one that does not run (its first key, or a new one where the last
// was lost).
#include <cstdint>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/remote.h"
#include "cli/terminal.h"
#include "storage/access_key.h"

namespace bailiff::cli {

struct KeyOptions {
  ServerOptions server;
  std::string data;                              // empty: through the server
  std::string name, id;
  std::vector<std::string> scopes;               // empty: submit and read
  storage::AccessKey bounds;                     // its weight and bounds alone
};

/// Each prints what it has to say and returns the exit code. create_key() prints nothing but the key on standard output.
[[nodiscard]] Expected<ExitCode> create_key(const KeyOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> list_keys(const KeyOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> revoke_key(const KeyOptions& options, const Console& console);

}  // namespace bailiff::cli
