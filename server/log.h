#pragma once
// Structured log lines (logfmt) on stderr, one a line: time=… level=… event="job finished" job=01J… verdict=ok
// Every value is escaped, so that no byte a client or a program chose can end a line, forge a field or reach a terminal as a control
// sequence. Any thread. Before start_log() lines go out at level info in spdlog's own format.
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::server {

enum class LogLevel { debug, info, warn, error };

/// One key=value of a line.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <std::integral Int>
  LogField(std::string_view k, Int v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, const core::Error& e) : key(k), value(e.what) {}
  std::string_view key;  // a literal of ours: lower-case words and underscores
  std::string value;
};

/// Sends lines of `least` and above to stderr. Call once, before any thread.
void start_log(LogLevel least);
/// "debug", "info", "warn" or "error".
[[nodiscard]] core::Result<LogLevel> log_level_from_name(std::string_view name);

/// The text after the level: event="…" key=value …; long values are cut.
[[nodiscard]] std::string log_text(std::string_view event, std::initializer_list<LogField> fields);

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
inline void log_debug(std::string_view event, std::initializer_list<LogField> fields = {}) { log(LogLevel::debug, event, fields); }
inline void log_info(std::string_view event, std::initializer_list<LogField> fields = {}) { log(LogLevel::info, event, fields); }
inline void log_warn(std::string_view event, std::initializer_list<LogField> fields = {}) { log(LogLevel::warn, event, fields); }
inline void log_error(std::string_view event, std::initializer_list<LogField> fields = {}) { log(LogLevel::error, event, fields); }

}  // namespace bailiff::server
