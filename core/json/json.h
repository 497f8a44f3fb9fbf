#pragma once
// core types → JSON texts of api.md. One place for the field names that server and CLI both print.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/job.h"

namespace bailiff::core {

using Json = nlohmann::ordered_json;

/// Strict (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. NUL is valid.
[[nodiscard]] bool is_utf8(std::string_view bytes);
/// The bytes with each one that is not part of valid UTF-8 replaced by U+FFFD: for one-line messages, which must always be a JSON string.
[[nodiscard]] std::string to_utf8(std::string_view bytes);
[[nodiscard]] std::string base64_encode(std::string_view bytes);
/// Standard alphabet with padding (RFC 4648 section 4, canonical form); nothing on any other input.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);
/// A Content: a JSON string where the bytes are valid UTF-8, else {"base64": …}.
[[nodiscard]] Json content_to_json(std::string_view bytes);
/// "2026-01-31T12:00:00.123456Z" from Unix microseconds.
[[nodiscard]] std::string iso8601_utc(std::int64_t unix_us);

/// Members of a step/test object that come from its Outcome: verdict, exit_code, signal, message (null where empty), *_ms, *_peak
/// (processes_peak is null where the kernel does not tell), stdout_truncated, stderr_truncated, evidence.
void put_outcome(Json& object, const Outcome& outcome);
/// A step of a job, stdout and stderr included.
[[nodiscard]] Json to_json(const StepResult& step);
[[nodiscard]] Json to_json(const TestResult& test);
/// Under the wire's names and in its units: whole numbers where they are whole.
[[nodiscard]] Json limits_to_json(const Limits& limits);
/// Only the limits that are set.
[[nodiscard]] Json overrides_to_json(const LimitOverrides& overrides);

}  // namespace bailiff::core
