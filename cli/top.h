#pragma once
// `bailiff top`: what a server does, as it does it.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "cli/failure.h"
#include "cli/remote.h"
#include "cli/terminal.h"

namespace bailiff::cli {

struct TopOptions {
  ServerOptions server;
  double interval_s = 1;
  std::uint64_t rounds = 0;  // 0: until it is ended; on no terminal: 1
};

/// What one look at the server found.
struct TopLook {
  core::Json system, jobs;                  // GET /v1/system, GET /v1/jobs
  std::map<std::string, double> finished;   // jobs that ended since bailiffd started, by verdict
  double oldest_queued_s = 0;
};

/// The values of a metric in Prometheus' text format, by the value of one of its labels; "" where it has none.
[[nodiscard]] std::map<std::string, double> metric_values(std::string_view text, std::string_view name, std::string_view label);

/// The screen: at most `rows` lines, of any length. `before` is the look `seconds` ago; null at first: then there are no rates.
[[nodiscard]] std::string render_top(const TopLook& look, const TopLook* before, double seconds, std::size_t rows, const Paint& paint);

[[nodiscard]] Expected<ExitCode> top(const TopOptions& options, const Console& console);

}  // namespace bailiff::cli
