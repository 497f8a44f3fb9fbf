#include "core/json/json.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace bailiff::core {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> base64_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kBase64.size(); ++i) values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
  return values;
}

// Length of the valid UTF-8 sequence that the bytes start with, 0 where there is none (the table of RFC 3629 section 4).
std::size_t sequence_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U; };
  const auto in = [](unsigned byte, unsigned low, unsigned high) { return byte >= low && byte <= high; };
  const auto tail = [&](std::size_t i) { return in(at(i), 0x80, 0xBF); };
  const unsigned lead = at(0);
  if (bytes.empty()) return 0;
  if (lead < 0x80) return 1;
  if (in(lead, 0xC2, 0xDF)) return tail(1) ? 2 : 0;
  if (in(lead, 0xE0, 0xEF)) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return in(at(1), low, high) && tail(2) ? 3 : 0;
  }
  if (in(lead, 0xF0, 0xF4)) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return in(at(1), low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Bytes of the longest valid prefix. Eight ASCII bytes at a time: outputs are megabytes and mostly ASCII.
std::size_t valid_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::uint64_t word = 0;
    if (bytes.size() - at >= sizeof word) {
      std::memcpy(&word, bytes.data() + at, sizeof word);
      if ((word & 0x8080808080808080U) == 0) {
        at += sizeof word;
        continue;
      }
    }
    const std::size_t length = sequence_length(bytes.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(to_utf8(text)); }

template <class T>
Json value_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

double milliseconds(std::uint64_t us) { return static_cast<double>(us) / 1000.0; }

Json scaled(std::uint64_t value, std::uint64_t scale) {
  if (value % scale == 0) return value / scale;
  return static_cast<double>(value) / static_cast<double>(scale);
}

void put_figures(Json& object, const Outcome& outcome) {
  object["verdict"] = name(outcome.verdict);
  object["exit_code"] = value_or_null(outcome.exit_code);
  object["signal"] = value_or_null(outcome.signal);
  object["message"] = text_or_null(outcome.message);
  object["cpu_time_ms"] = milliseconds(outcome.usage.cpu_us);
  object["cpu_user_ms"] = milliseconds(outcome.usage.cpu_user_us);
  object["cpu_system_ms"] = milliseconds(outcome.usage.cpu_system_us);
  object["wall_time_ms"] = milliseconds(outcome.usage.wall_us);
  object["memory_peak_bytes"] = outcome.usage.memory_peak_bytes;
  object["processes_peak"] = outcome.usage.processes_peak == 0 ? Json(nullptr) : Json(outcome.usage.processes_peak);
}

void put_streams(Json& object, std::string_view stdout_bytes, std::string_view stderr_bytes) {
  object["stdout"] = content_to_json(stdout_bytes);
  object["stderr"] = content_to_json(stderr_bytes);
}

void put_counters(Json& object, const Outcome& outcome) {
  object["stdout_truncated"] = outcome.stdout_truncated;
  object["stderr_truncated"] = outcome.stderr_truncated;
  Json evidence = Json::object();
  for (const auto& [counter, value] : outcome.evidence) evidence[counter] = value;
  object["evidence"] = std::move(evidence);
}

}  // namespace

bool is_utf8(std::string_view bytes) { return valid_prefix(bytes) == bytes.size(); }

std::string to_utf8(std::string_view bytes) {
  std::string text;
  while (true) {
    const std::size_t valid = valid_prefix(bytes);
    text += bytes.substr(0, valid);
    if (valid == bytes.size()) return text;
    text += "\xEF\xBF\xBD";
    bytes.remove_prefix(valid + 1);
  }
}

std::string base64_encode(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? kBase64[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  static constexpr auto kValues = base64_values();
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  unsigned bits = 0;
  for (const char digit : digits) {
    const int value = kValues[static_cast<unsigned char>(digit)];
    if (value < 0) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 0xFF);
  }
  if ((group & ((1U << bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

Json content_to_json(std::string_view bytes) {
  if (is_utf8(bytes)) return Json(bytes);
  return Json{{"base64", base64_encode(bytes)}};
}

std::string iso8601_utc(std::int64_t unix_us) {
  using namespace std::chrono;
  const sys_time<microseconds> instant{microseconds{unix_us}};
  const auto day = floor<days>(instant);
  const year_month_day date{day};
  const hh_mm_ss time{instant - day};
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                                   static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                   static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                                   static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
  return {text.data(), static_cast<std::size_t>(length)};
}

void put_outcome(Json& object, const Outcome& outcome) {
  put_figures(object, outcome);
  put_counters(object, outcome);
}

Json to_json(const StepResult& step) {
  Json object = {{"name", to_utf8(step.name)}};
  put_figures(object, step.outcome);
  put_streams(object, step.stdout_bytes, step.stderr_bytes);
  put_counters(object, step.outcome);
  return object;
}

Json to_json(const TestResult& test) {
  Json object = {{"name", to_utf8(test.name)}, {"verdict", name(test.outcome.verdict)}, {"points", test.points}};
  put_figures(object, test.outcome);
  put_streams(object, test.stdout_bytes, test.stderr_bytes);
  object["checker_message"] = text_or_null(test.checker_message);
  put_counters(object, test.outcome);
  return object;
}

Json limits_to_json(const Limits& limits) {
  Json object = Json::object();
  for (const auto& field : kLimitFields) object[field.name] = scaled(limits.*field.member, field.scale);
  return object;
}

Json overrides_to_json(const LimitOverrides& overrides) {
  Json object = Json::object();
  for (std::size_t i = 0; i < kLimitCount; ++i)
    if (overrides.values[i]) object[kLimitFields[i].name] = scaled(*overrides.values[i], kLimitFields[i].scale);
  return object;
}

}  // namespace bailiff::core
