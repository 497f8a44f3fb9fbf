#pragma once
// Compare a program's output with what was expected, and turn step and test results into a job's verdict and score.
// Pure functions over bytes: no I/O, no state, no clock; memory use does not grow with the inputs.
#include <string>
#include <string_view>
#include <vector>

#include "core/job.h"

namespace bailiff::judge {

struct Comparison {
  bool accepted = false;
  std::string message;  // where they first differ, in words: "token 3 (line 2): expected \"7\", got \"8\""; empty when accepted
};

/// tokens: the same tokens, separated by any ASCII white space. lines: the same lines, trailing white space of a line and trailing empty
/// lines ignored. exact: the same bytes. floats: as tokens, but two tokens that both are decimal numbers are equal when
/// |a - e| <= absolute or |a - e| <= relative * |e| (NaN equals nothing; infinities only themselves).
[[nodiscard]] Comparison compare(const core::Checker& checker, std::string_view expected, std::string_view actual);

/// The verdict of a job without tests: the first step (in order) that is not ok decides; `compile_error` where that step is
/// the compile step (index compile_step, or -1) and the program (the compiler) is to blame for it. Without any step: internal_error.
[[nodiscard]] core::Verdict verdict_of_steps(const std::vector<core::StepResult>& steps, int compile_step);

/// The verdict of a job's tests: accepted where all are, else that of the first (in order) that is not; internal_error without any test.
/// score_of_tests: the sum of their points.
[[nodiscard]] core::Verdict verdict_of_tests(const std::vector<core::TestResult>& tests);
[[nodiscard]] double score_of_tests(const std::vector<core::TestResult>& tests);

}  // namespace bailiff::judge
