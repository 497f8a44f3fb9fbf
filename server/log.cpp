#include "server/log.h"

#include <fmt/core.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

namespace bailiff::server {
namespace {

constexpr std::size_t kMaxValueBytes = 2048;

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warn: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

bool needs_no_quotes(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_.:/+@,%").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// Only printable ASCII goes out as it is: UTF-8 has control and direction characters of its own that a terminal obeys.
void append_quoted(std::string& out, std::string_view value) {
  const bool cut = value.size() > kMaxValueBytes;
  out += '"';
  for (const char raw : value.substr(0, kMaxValueBytes)) {
    const auto c = static_cast<unsigned char>(raw);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += raw;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c >= 0x20 && c < 0x7f) {
      out += raw;
    } else {
      out += fmt::format("\\x{:02x}", c);
    }
  }
  if (cut) out += "...";
  out += '"';
}

}  // namespace

void start_log(LogLevel least) {
  auto logger = std::make_shared<spdlog::logger>("bailiffd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(
      std::make_unique<spdlog::pattern_formatter>("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc));
  logger->set_level(spdlog_level(least));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

core::Result<LogLevel> log_level_from_name(std::string_view name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "info") return LogLevel::info;
  if (name == "warn") return LogLevel::warn;
  if (name == "error") return LogLevel::error;
  return core::error(core::ErrorKind::invalid, "expected debug, info, warn or error");
}

std::string log_text(std::string_view event, std::initializer_list<LogField> fields) {
  std::string text = "event=";
  append_quoted(text, event);
  for (const LogField& field : fields) {
    text += ' ';
    text += field.key;
    text += '=';
    if (needs_no_quotes(field.value) && field.value.size() <= kMaxValueBytes) {
      text += field.value;
    } else {
      append_quoted(text, field.value);
    }
  }
  return text;
}

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  auto* logger = spdlog::default_logger_raw();
  const auto spd_level = spdlog_level(level);
  if (!logger->should_log(spd_level)) return;
  logger->log(spd_level, log_text(event, fields));
}

}  // namespace bailiff::server
