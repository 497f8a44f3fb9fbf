#pragma once
// The verdicts of api.md. An enumerator's name is its JSON text and its database text.
#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace bailiff::core {

enum class Verdict {
  ok,
  runtime_error,
  time_limit_exceeded,
  wall_time_limit_exceeded,
  memory_limit_exceeded,
  output_limit_exceeded,
  cancelled,
  internal_error,
  accepted,       // tests and jobs with tests
  wrong_answer,   // tests and jobs with tests
  compile_error,  // jobs
};

enum class JobState { queued, running, finished };

inline constexpr std::array kVerdictNames = {"ok",
                                             "runtime_error",
                                             "time_limit_exceeded",
                                             "wall_time_limit_exceeded",
                                             "memory_limit_exceeded",
                                             "output_limit_exceeded",
                                             "cancelled",
                                             "internal_error",
                                             "accepted",
                                             "wrong_answer",
                                             "compile_error"};
inline constexpr std::array kJobStateNames = {"queued", "running", "finished"};

constexpr std::string_view name(Verdict v) { return kVerdictNames.at(static_cast<std::size_t>(v)); }
constexpr std::string_view name(JobState s) { return kJobStateNames.at(static_cast<std::size_t>(s)); }

template <class Enum, std::size_t N>
constexpr std::optional<Enum> enum_from_name(const std::array<const char*, N>& names, std::string_view text) {
  for (std::size_t i = 0; i < N; ++i)
    if (text == names.at(i)) return static_cast<Enum>(i);
  return std::nullopt;
}
constexpr std::optional<Verdict> verdict_from_name(std::string_view text) { return enum_from_name<Verdict>(kVerdictNames, text); }
constexpr std::optional<JobState> job_state_from_name(std::string_view text) { return enum_from_name<JobState>(kJobStateNames, text); }

}  // namespace bailiff::core
