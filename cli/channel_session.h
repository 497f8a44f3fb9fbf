#pragma once
// Our own standard streams joined with a program on a server. The messages are those of server/stream_relay.h and server/attach_relay.h
// (docs: /openapi.json).
#include <functional>
#include <string>

#include "cli/failure.h"
#include "cli/remote.h"
#include "cli/terminal.h"
#include "core/json/json.h"

namespace bailiff::cli {

struct ChannelOptions {
  ServerOptions server;
  std::string target;           // path and query of the WebSocket
  bool terminal = false;        // of the program's own: ours is handed over to it when it has begun
  bool begun_at_once = true;    // else when the server says so
  std::string when_lost;        // what it means that the connection is lost, for a person
  std::function<Expected<ExitCode>(const core::Json& control)> result_of;  // what the server's last message means
};

/// Until the server's last message. 128 + n where signal n ended us.
[[nodiscard]] Expected<ExitCode> run_channels(const ChannelOptions& options, const Console& console);

inline constexpr int kKilledBySignal = 128;

}  // namespace bailiff::cli
