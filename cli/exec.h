#pragma once
// `bailiff exec` and `bailiff attach`: a command beside a running job, or an interactive job itself, joined with our own standard streams.
#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/remote.h"
#include "cli/terminal.h"

namespace bailiff::cli {

struct ExecOptions {
  ServerOptions server;
  std::string id;
  std::vector<std::string> command;
  std::vector<std::string> env;  // "NAME=value"
  bool terminal = false;
};

/// The command's own exit code, 128 + n where signal n ended it.
[[nodiscard]] Expected<ExitCode> exec_beside(const ExecOptions& options, const Console& console);

struct AttachOptions {
  ServerOptions server;
  std::string id;
  std::optional<bool> terminal{};  // whether its program has one; nothing: the server is asked
};

/// That of the job's verdict, which is told on standard error.
[[nodiscard]] Expected<ExitCode> attach(const AttachOptions& options, const Console& console);

/// Path and query of the WebSocket.
[[nodiscard]] std::string exec_target(const ExecOptions& options);

}  // namespace bailiff::cli
