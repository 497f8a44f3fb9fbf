#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "judge/compare.h"
#include "judge/judge.h"

namespace bailiff::judge {
namespace {

using namespace std::string_literals;
using Kind = core::Checker::Kind;

constexpr core::Checker kTokens{Kind::tokens, 0, 0}, kLines{Kind::lines, 0, 0}, kExact{Kind::exact, 0, 0};
constexpr core::Checker kFloats{Kind::floats, 1e-6, 1e-6}, kAbsolute{Kind::floats, 1e-3, 0}, kRelative{Kind::floats, 0, 1e-3},
    kZero{Kind::floats, 0, 0};

struct Case {
  core::Checker checker;
  std::string expected, actual, message;  // an empty message: accepted
};

class Compare : public testing::TestWithParam<Case> {};

TEST_P(Compare, SaysWhereTheyDiffer) {
  const auto& [checker, expected, actual, message] = GetParam();
  const Comparison comparison = compare(checker, expected, actual);
  EXPECT_EQ(comparison.message, message);
  EXPECT_EQ(comparison.accepted, message.empty());
}

INSTANTIATE_TEST_SUITE_P(Tokens, Compare,
                         testing::ValuesIn(std::vector<Case>{
                             {kTokens, "", "", ""},
                             {kTokens, "", " \n\t\r\v\f", ""},
                             {kTokens, "1 2\n3", "1\r\n2\r\n3\r\n", ""},
                             {kTokens, "a\n", "a", ""},
                             {kTokens, "1 2\n3 7\n", "1 2\n3 8\n", R"(token 4 (line 2): expected "7", got "8")"},
                             {kTokens, "1 2", "1", R"(token 2 (line 1): expected "2", got end of output)"},
                             {kTokens, "1", "1\n\nx", R"(token 2 (line 3): expected end of output, got "x")"},
                             {kTokens, "1", "", R"(token 1 (line 1): expected "1", got end of output)"},
                             {kTokens, "abc", "ABC", R"(token 1 (line 1): expected "abc", got "ABC")"},
                             {kTokens, "1.0", "1", R"(token 1 (line 1): expected "1.0", got "1")"},
                             {kTokens, "a\0b"s, "a\0b"s, ""},
                             {kTokens, "a\0b"s, "a\0c"s, R"(token 1 (line 1): expected "a\x00b", got "a\x00c")"},
                             {kTokens, "a b", "a\0b"s, R"(token 1 (line 1): expected "a", got "a\x00b")"},
                             {kTokens, "x", "\xff\x1b[2J\"\\", R"(token 1 (line 1): expected "x", got "\xff\x1b[2J\"\\")"},
                             {kTokens,
                              "a\xc2\xa0"
                              "b",
                              "a b", R"(token 1 (line 1): expected "a\xc2\xa0b", got "a")"},
                         }));

INSTANTIATE_TEST_SUITE_P(Lines, Compare,
                         testing::ValuesIn(std::vector<Case>{
                             {kLines, "", "", ""},
                             {kLines, "", "\n \r\n\n", ""},
                             {kLines, "a b\nc", "a b  \r\nc\t\n\n\n", ""},
                             {kLines, "a b", "a  b", R"(line 1: expected "a b", got "a  b")"},
                             {kLines, "a", " a", R"(line 1: expected "a", got " a")"},
                             {kLines, "a\n\nb", "a\nb", R"(line 2: expected "", got "b")"},
                             {kLines, "a\nb", "a\n", R"(line 2: expected "b", got end of output)"},
                             {kLines, "a", "a\n\nb", R"(line 2: expected end of output, got "")"},
                             {kLines, "\na", "a", R"(line 1: expected "", got "a")"},
                             {kLines, "\xff", "\xfe", R"(line 1: expected "\xff", got "\xfe")"},
                             {kLines, "a\rb", "a\nb", R"(line 1: expected "a\rb", got "a")"},
                         }));

INSTANTIATE_TEST_SUITE_P(Exact, Compare,
                         testing::ValuesIn(std::vector<Case>{
                             {kExact, "", "", ""},
                             {kExact, "a\0\xff\r\n"s, "a\0\xff\r\n"s, ""},
                             {kExact, "a\n", "a", R"(byte 2 (line 1, column 2): expected "a\n", got end of output)"},
                             {kExact, "a", "a\n", R"(byte 2 (line 1, column 2): expected end of output, got "a\n")"},
                             {kExact, "a\nbc\nd", "a\nbx\nd", R"(byte 4 (line 2, column 2): expected "bc\n", got "bx\n")"},
                             {kExact, "a\n", "a\r\n", R"(byte 2 (line 1, column 2): expected "a\n", got "a\r\n")"},
                             {kExact, "a\n", "a\nb", R"(byte 3 (line 2, column 1): expected end of output, got "b")"},
                             {kExact, "", "\n", R"(byte 1 (line 1, column 1): expected end of output, got "\n")"},
                         }));

INSTANTIATE_TEST_SUITE_P(
    Floats, Compare,
    testing::ValuesIn(std::vector<Case>{
        {kFloats, "", "\n", ""},
        {kFloats, "0.5 yes", "5e-1 yes", ""},
        {kFloats, "1", "1.0000009", ""},
        {kFloats, "0", "-0", ""},
        {kFloats, "0", "-0.0000001", ""},
        {kFloats, "3", "+3.0", ""},
        {kFloats, ".5", "0.5", ""},
        {kFloats, "1.", "1", ""},
        {kFloats, "1000000", "1000000.9", ""},
        {kAbsolute, "1000000", "1000000.9", R"(token 1 (line 1): expected "1000000", got "1000000.9" (they differ by 0.9))"},
        {kAbsolute, "1", "1.0009", ""},
        {kAbsolute, "1", "1.0011", R"(token 1 (line 1): expected "1", got "1.0011" (they differ by 0.0011))"},
        {kRelative, "0", "1e-300", R"(token 1 (line 1): expected "0", got "1e-300" (they differ by 1e-300))"},
        {kRelative, "-1000", "-1000.9", ""},
        {kRelative, "-1000", "1000", R"(token 1 (line 1): expected "-1000", got "1000" (they differ by 2e+03))"},
        {kZero, "0.1", "0.10", ""},
        {kZero, "0.1", "0.1000001", R"(token 1 (line 1): expected "0.1", got "0.1000001" (they differ by 1e-07))"},
        {kFloats, "nan", "nan", R"(token 1 (line 1): expected "nan", got "nan" (they differ by nan))"},
        {kFloats, "nan", "1", R"(token 1 (line 1): expected "nan", got "1" (they differ by nan))"},
        {kFloats, "1", "NaN", R"(token 1 (line 1): expected "1", got "NaN" (they differ by nan))"},
        {kFloats, "inf", "Infinity", ""},
        {kFloats, "-inf", "-inf", ""},
        {kFloats, "inf", "-inf", R"(token 1 (line 1): expected "inf", got "-inf" (they differ by inf))"},
        {kFloats, "inf", "1e308", R"(token 1 (line 1): expected "inf", got "1e308" (they differ by inf))"},
        {kFloats, "1e308", "inf", R"(token 1 (line 1): expected "1e308", got "inf" (they differ by inf))"},
        {kFloats, "1e400", "1e400", ""},
        {kFloats, "1e400", "1e401", R"(token 1 (line 1): expected "1e400", got "1e401")"},
        {kFloats, "1e400", "inf", R"(token 1 (line 1): expected "1e400", got "inf")"},
        {kFloats, "0", "1e-400", ""},
        {kFloats, "-1e-99999999999999999999", "0", ""},
        {kFloats, "0x10", "16", R"(token 1 (line 1): expected "0x10", got "16")"},
        {kFloats, "0x1p3", "0x1p3", ""},
        {kFloats, "1", "1x", R"(token 1 (line 1): expected "1", got "1x")"},
        {kFloats, "1", "+-1", R"(token 1 (line 1): expected "1", got "+-1")"},
        {kFloats, "1", "1,0", R"(token 1 (line 1): expected "1", got "1,0")"},
        {kFloats, "1 2", "1", R"(token 2 (line 1): expected "2", got end of output)"},
        {kFloats, "a", "b", R"(token 1 (line 1): expected "a", got "b")"},
        {kFloats, "-1.7e308", "1.7e308", R"(token 1 (line 1): expected "-1.7e308", got "1.7e308" (they differ by inf))"},
    }));

TEST(DecimalNumber, OutOfRangeIsTinyOrNothing) {
  const std::string zeros(500, '0');
  EXPECT_EQ(decimal_number("0." + zeros + "1"), 0.0);
  EXPECT_EQ(decimal_number("-0." + zeros + "1"), 0.0);
  EXPECT_EQ(decimal_number("1" + zeros), std::nullopt);
  EXPECT_EQ(decimal_number("1" + zeros + "e-1000"), 0.0);
  EXPECT_EQ(decimal_number("0." + zeros + "1e1000"), std::nullopt);
  EXPECT_EQ(decimal_number("1" + zeros + "e-500"), 1.0);
  EXPECT_EQ(decimal_number("0e99999999999999999999"), 0.0);
  EXPECT_EQ(decimal_number("1e99999999999999999999"), std::nullopt);
  EXPECT_EQ(decimal_number("1e-99999999999999999999"), 0.0);
}

TEST(DecimalNumber, IsNotWhatIsNoDecimalNumber) {
  for (const char* text :
       {"", "+", "-", ".", "e5", "1e", "1e+", "0x1", "--1", "-+1", "++1", " 1", "1 ", "1_000", "1.2.3", "infinit", "nann"})
    EXPECT_EQ(decimal_number(text), std::nullopt) << text;
}

TEST(Excerpt, OfAHugeTokenIsBoundedAndShowsTheDifference) {
  const std::string same(1'000'000, 'a');
  const Comparison comparison = compare(kTokens, same + "X" + same, same + "Y" + same);
  EXPECT_FALSE(comparison.accepted);
  const std::string before(20, 'a'), after(39, 'a');
  EXPECT_EQ(comparison.message,
            "token 1 (line 1): expected \"..." + before + "X" + after + "...\", got \"..." + before + "Y" + after + "...\"");
  EXPECT_LT(compare(kExact, std::string(1000, '\x01'), std::string(1000, '\x02')).message.size(), 600U);
}

TEST(Excerpt, ShowsTheEndWhereOneIsLonger) {
  const std::string same(100, 'a');
  EXPECT_EQ(compare(kTokens, same, same + "b").message,
            "token 1 (line 1): expected \"..." + std::string(20, 'a') + "\", got \"..." + std::string(20, 'a') + "b\"");
}

core::StepResult step(core::Verdict verdict) {
  core::StepResult result;
  result.outcome.verdict = verdict;
  return result;
}

TEST(VerdictOfSteps, TheFirstThatIsNotOkDecides) {
  using core::Verdict;
  const auto ok = step(Verdict::ok), failed = step(Verdict::runtime_error), slow = step(Verdict::time_limit_exceeded);
  EXPECT_EQ(verdict_of_steps({ok, ok}, 0), Verdict::ok);
  EXPECT_EQ(verdict_of_steps({ok, slow, failed}, 0), Verdict::time_limit_exceeded);
  EXPECT_EQ(verdict_of_steps({failed, ok}, 0), Verdict::compile_error);
  EXPECT_EQ(verdict_of_steps({slow}, 0), Verdict::compile_error);
  EXPECT_EQ(verdict_of_steps({failed, ok}, -1), Verdict::runtime_error);
  EXPECT_EQ(verdict_of_steps({ok, failed}, 0), Verdict::runtime_error);
  EXPECT_EQ(verdict_of_steps({step(Verdict::cancelled)}, 0), Verdict::cancelled);
  EXPECT_EQ(verdict_of_steps({step(Verdict::internal_error)}, 0), Verdict::internal_error);
  EXPECT_EQ(verdict_of_steps({}, -1), Verdict::internal_error);
}

TEST(VerdictOfTests, TheFirstThatIsNotAcceptedDecidesAndPointsAdd) {
  using core::Verdict;
  core::TestResult good, wrong, slow;
  good.outcome.verdict = Verdict::accepted;
  good.points = 2.5;
  wrong.outcome.verdict = Verdict::wrong_answer;
  slow.outcome.verdict = Verdict::time_limit_exceeded;
  EXPECT_EQ(verdict_of_tests({good, good}), Verdict::accepted);
  EXPECT_EQ(verdict_of_tests({good, wrong, slow}), Verdict::wrong_answer);
  EXPECT_EQ(verdict_of_tests({slow, good, wrong}), Verdict::time_limit_exceeded);
  EXPECT_EQ(verdict_of_tests({}), Verdict::internal_error);
  EXPECT_EQ(score_of_tests({good, wrong, good}), 5.0);
  EXPECT_EQ(score_of_tests({}), 0.0);
}

}  // namespace
}  // namespace bailiff::judge
