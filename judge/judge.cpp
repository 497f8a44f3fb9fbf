#include "judge/judge.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "judge/compare.h"

namespace bailiff::judge {
namespace {

Comparison accepted() { return {true, {}}; }

// "expected "7", got "8"": both around the byte at which they differ.
std::string difference(const std::optional<Piece>& expected, const std::optional<Piece>& actual) {
  const std::size_t at = expected && actual ? first_difference(expected->text, actual->text) : 0;
  const auto show = [at](const std::optional<Piece>& piece) { return piece ? excerpt(piece->text, at) : std::string("end of output"); };
  return "expected " + show(expected) + ", got " + show(actual);
}

// Whether two numbers are equal within the tolerances; differences in long double, where no two doubles overflow.
bool near(double expected, double actual, const core::Checker& checker) {
  if (std::isnan(expected) || std::isnan(actual)) return false;
  if (expected == actual) return true;
  if (std::isinf(expected) || std::isinf(actual)) return false;
  const long double error = std::fabs(static_cast<long double>(actual) - static_cast<long double>(expected));
  return error <= checker.absolute || error <= static_cast<long double>(checker.relative) * std::fabs(static_cast<long double>(expected));
}

struct TokenMatch {
  bool equal = false;
  std::string note;  // why two numbers are not equal; empty for anything else
};

TokenMatch match_floats(const core::Checker& checker, std::string_view expected, std::string_view actual) {
  const auto wanted = decimal_number(expected), got = decimal_number(actual);
  if (!wanted || !got) return {expected == actual, {}};
  if (near(*wanted, *got, checker)) return {true, {}};
  std::array<char, 64> note{};
  std::snprintf(note.data(), note.size(), " (they differ by %.3g)", std::fabs(*got - *wanted));
  return {false, note.data()};
}

Comparison compare_tokens(const core::Checker& checker, std::string_view expected, std::string_view actual) {
  Tokens wanted(expected), got(actual);
  for (std::uint64_t number = 1;; ++number) {
    const auto a = wanted.next(), b = got.next();
    if (!a && !b) return accepted();
    TokenMatch match;
    if (a && b) {
      match = checker.kind == core::Checker::Kind::floats ? match_floats(checker, a->text, b->text) : TokenMatch{a->text == b->text, {}};
      if (match.equal) continue;
    }
    const std::uint64_t line = b ? b->line : a->line;
    return {false, "token " + std::to_string(number) + " (line " + std::to_string(line) + "): " + difference(a, b) + match.note};
  }
}

Comparison compare_lines(std::string_view expected, std::string_view actual) {
  Lines wanted(expected), got(actual);
  for (std::uint64_t number = 1;; ++number) {
    const auto a = wanted.next(), b = got.next();
    if (!a && !b) return accepted();
    if (a && b && a->text == b->text) continue;
    return {false, "line " + std::to_string(number) + ": " + difference(a, b)};
  }
}

// The line that byte `at` of a text is on, its line feed included (a missing one may be all that differs); nothing behind the last byte.
std::optional<Piece> line_around(std::string_view text, std::size_t line_start, std::size_t at) {
  if (at >= text.size()) return std::nullopt;
  const std::size_t end = text.find('\n', at);
  return Piece{text.substr(line_start, end == std::string_view::npos ? end : end + 1 - line_start), 1};
}

Comparison compare_exact(std::string_view expected, std::string_view actual) {
  const std::size_t at = first_difference(expected, actual);
  if (at == expected.size() && at == actual.size()) return accepted();
  const std::string_view same = expected.substr(0, at);
  const std::size_t line_start = same.rfind('\n') + 1;  // npos + 1 is 0: the first line
  std::uint64_t line = 1;
  for (const char c : same) line += c == '\n' ? 1 : 0;
  return {false, "byte " + std::to_string(at + 1) + " (line " + std::to_string(line) + ", column " + std::to_string(at - line_start + 1) +
                     "): " + difference(line_around(expected, line_start, at), line_around(actual, line_start, at))};
}

}  // namespace

Comparison compare(const core::Checker& checker, std::string_view expected, std::string_view actual) {
  switch (checker.kind) {
    case core::Checker::Kind::tokens:
    case core::Checker::Kind::floats: return compare_tokens(checker, expected, actual);
    case core::Checker::Kind::lines: return compare_lines(expected, actual);
    case core::Checker::Kind::exact: return compare_exact(expected, actual);
  }
  return {false, "unknown checker"};
}

core::Verdict verdict_of_steps(const std::vector<core::StepResult>& steps, int compile_step) {
  using core::Verdict;
  if (steps.empty()) return Verdict::internal_error;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Verdict verdict = steps[i].outcome.verdict;
    if (verdict == Verdict::ok) continue;
    const bool compiler_did_it = verdict != Verdict::cancelled && verdict != Verdict::internal_error;
    return compiler_did_it && std::cmp_equal(i, compile_step) ? Verdict::compile_error : verdict;
  }
  return Verdict::ok;
}

core::Verdict verdict_of_tests(const std::vector<core::TestResult>& tests) {
  if (tests.empty()) return core::Verdict::internal_error;
  for (const auto& test : tests)
    if (test.outcome.verdict != core::Verdict::accepted) return test.outcome.verdict;
  return core::Verdict::accepted;
}

double score_of_tests(const std::vector<core::TestResult>& tests) {
  double score = 0;
  for (const auto& test : tests) score += test.points;
  return score;
}

}  // namespace bailiff::judge
