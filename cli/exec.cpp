#include "cli/exec.h"

#include <fmt/format.h>

#include <cstdlib>

#include "cli/channel_session.h"
#include "cli/raw_terminal.h"

namespace bailiff::cli {
namespace {

using core::Json;

Expected<ExitCode> end_of_command(const Json& control) {
  const auto number = [&](const char* key) -> std::optional<int> {
    if (!control.is_object() || !control.contains(key) || !control[key].is_number_integer()) return std::nullopt;
    return control[key].get<int>();
  };
  if (const auto code = number("exit_code")) return static_cast<ExitCode>(*code);
  if (const auto signal = number("signal")) return static_cast<ExitCode>(kKilledBySignal + *signal);
  return failure(kExitInternal, "the server says something that is not understood", "is it of the same version?");
}

/// Of the whole job, which is not ours to judge.
Expected<ExitCode> end_of_job(const Json& control, const Console& console) {
  const bool told = control.is_object() && control.contains("verdict") && control["verdict"].is_string();
  const auto verdict = told ? core::verdict_from_name(control["verdict"].get<std::string>()) : std::nullopt;
  if (!verdict) return failure(kExitInternal, "the server says something that is not understood", "is it of the same version?");
  const Json message = control.value("message", Json());
  const std::string why = message.is_string() ? ": " + sanitise_line(message.get<std::string>()) : "";
  (void)console.err.write(fmt::format("bailiff: {}{}\n", core::name(*verdict), why));
  return exit_code(*verdict);
}

/// Whether the job's program has a terminal.
Expected<bool> has_terminal(const ServerOptions& server, const std::string& id) {
  auto client = client_of(server);
  if (!client) return std::unexpected(std::move(client.error()));
  const auto request = client->json({.path = fmt::format("/v1/jobs/{}/request", percent_encode(id))});
  if (!request) return std::unexpected(request.error());
  const Json kind = request->is_object() ? request->value("interactive", Json()) : Json();
  return kind.is_object() && kind.value("tty", false);
}

}  // namespace

std::string exec_target(const ExecOptions& options) {
  std::string target = fmt::format("/v1/jobs/{}/exec?tty={}", percent_encode(options.id), options.terminal);
  for (const auto& word : options.command) target += "&command=" + percent_encode(word);
  if (options.terminal) {
    if (const auto size = terminal_size()) target += fmt::format("&rows={}&cols={}", size->ws_row, size->ws_col);
    if (const char* term = std::getenv("TERM"); term != nullptr && *term != '\0') target += "&env=TERM%3D" + percent_encode(term);
  }
  for (const auto& variable : options.env) target += "&env=" + percent_encode(variable);
  return target;
}

Expected<ExitCode> exec_beside(const ExecOptions& options, const Console& console) {
  return run_channels({options.server, exec_target(options), options.terminal, true, "the command ends with it", end_of_command}, console);
}

Expected<ExitCode> attach(const AttachOptions& options, const Console& console) {
  const auto terminal = options.terminal ? Expected<bool>(*options.terminal) : has_terminal(options.server, options.id);
  if (!terminal) return std::unexpected(terminal.error());
  std::string target = fmt::format("/v1/jobs/{}/attach", percent_encode(options.id));
  if (const auto size = terminal_size(); size && *terminal) target += fmt::format("?rows={}&cols={}", size->ws_row, size->ws_col);
  const auto end = [&console](const Json& control) { return end_of_job(control, console); };
  const std::string again = fmt::format("the job goes on; `bailiff attach {}` begins again with the first byte of its output", options.id);
  return run_channels({options.server, target, *terminal, false, again, end}, console);
}

}  // namespace bailiff::cli
