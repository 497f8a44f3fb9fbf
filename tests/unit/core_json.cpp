#include "core/json/json.h"

#include <gtest/gtest.h>

#include <string>

namespace bailiff::core {
namespace {

using namespace std::string_literals;

TEST(Utf8, AcceptsExactlyWhatRfc3629Does) {
  for (const auto& good : {""s, "abc"s, "a\0b"s, "\x7f"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s, "\xee\x80\x80"s,
                           "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s, "eight by\xc3\xa9tes and more"s})
    EXPECT_TRUE(is_utf8(good)) << base64_encode(good);
  for (const auto& bad : {"\x80"s,
                          "\xbf"s,
                          "\xc0\x80"s,
                          "\xc1\xbf"s,
                          "\xc2"s,
                          "\xc2\x41"s,
                          "\xe0\x80\x80"s,
                          "\xe0\x9f\xbf"s,
                          "\xed\xa0\x80"s,
                          "\xed\xbf\xbf"s,
                          "\xe2\x82"s,
                          "\xe2\x82\x41"s,
                          "\xf0\x80\x80\x80"s,
                          "\xf0\x8f\xbf\xbf"s,
                          "\xf4\x90\x80\x80"s,
                          "\xf5\x80\x80\x80"s,
                          "\xf0\x9f\x98"s,
                          "\xff"s,
                          "\xfe"s,
                          "12345678\xff"s,
                          "1234567\xc3"s})
    EXPECT_FALSE(is_utf8(bad)) << base64_encode(bad);
}

TEST(Utf8, EveryCodePointRoundsAndEveryByteOutsideIsReplaced) {
  EXPECT_EQ(to_utf8("abc"), "abc");
  EXPECT_EQ(to_utf8("a\xff\xc3\xa9\xe2\x82"), "a\xEF\xBF\xBD\xc3\xa9\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_TRUE(is_utf8(to_utf8("\xed\xa0\x80\xf0\x9f")));
}

TEST(Base64, Rfc4648Vectors) {
  for (const auto& [bytes, text] : {std::pair{"", ""},
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"fooba", "Zm9vYmE="},
                                    {"foobar", "Zm9vYmFy"},
                                    {"\xff\xfb\xf0", "//vw"}}) {
    EXPECT_EQ(base64_encode(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
}

TEST(Base64, EveryByteValueAtEveryLengthRoundTrips) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    bytes += static_cast<char>(i * 7);
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
  }
}

TEST(Base64, NothingOnAnyOtherInput) {
  for (const auto& bad : {"Z"s, "Zg"s, "Zg="s, "Zg==="s, "===="s, "="s, "Zh=="s, "Zm9="s, "Zm9v\n"s, "Zm 9"s, "Zm-_"s, "Zg==Zg=="s, "Z==="s,
                          "Zm9\0"s, "Zm9\xff"s})
    EXPECT_FALSE(base64_decode(bad)) << bad;
}

TEST(Content, IsAStringWhereUtf8AndBase64WhereNot) {
  EXPECT_EQ(content_to_json("h\xc3\xa9\n").dump(), "\"h\xc3\xa9\\n\"");
  EXPECT_EQ(content_to_json("").dump(), R"("")");
  EXPECT_EQ(content_to_json("a\0b"s).dump(), "\"a\\u0000b\"");
  EXPECT_EQ(content_to_json("\xff").dump(), R"({"base64":"/w=="})");
}

TEST(Iso8601, HasMicrosecondsInUtc) {
  EXPECT_EQ(iso8601_utc(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(iso8601_utc(1'769'860'800'123'456), "2026-01-31T12:00:00.123456Z");
  EXPECT_EQ(iso8601_utc(951'782'399'999'999), "2000-02-28T23:59:59.999999Z");
  EXPECT_EQ(iso8601_utc(951'782'400'000'000), "2000-02-29T00:00:00.000000Z");
  EXPECT_EQ(iso8601_utc(-1), "1969-12-31T23:59:59.999999Z");
}

TEST(Step, IsAsTheApiHasIt) {
  StepResult step;
  step.name = "compile";
  step.outcome.verdict = Verdict::ok;
  step.outcome.exit_code = 0;
  step.outcome.usage = {.cpu_us = 12'418,
                        .cpu_user_us = 9'100,
                        .cpu_system_us = 3'318,
                        .wall_us = 14'020,
                        .memory_peak_bytes = 3'612'672,
                        .processes_peak = 3};
  step.outcome.evidence = {{"oom_kill", 0}, {"throttled_ms", 12}};
  step.stdout_bytes = "out";
  step.stderr_bytes = "\xff";
  step.outcome.stderr_truncated = true;
  EXPECT_EQ(to_json(step).dump(),
            R"({"name":"compile","verdict":"ok","exit_code":0,"signal":null,"message":null,"cpu_time_ms":12.418,"cpu_user_ms":9.1,)"
            R"("cpu_system_ms":3.318,"wall_time_ms":14.02,"memory_peak_bytes":3612672,"processes_peak":3,"stdout":"out",)"
            R"("stderr":{"base64":"/w=="},"stdout_truncated":false,"stderr_truncated":true,"evidence":{"oom_kill":0,"throttled_ms":12}})");
}

TEST(Step, UnknownFiguresAndEmptyMessagesAreNull) {
  StepResult step;
  step.outcome.verdict = Verdict::runtime_error;
  step.outcome.signal = 11;
  step.outcome.message = "bad \xff name";
  const Json json = to_json(step);
  EXPECT_TRUE(json["exit_code"].is_null());
  EXPECT_EQ(json["signal"], 11);
  EXPECT_EQ(json["message"], "bad \xEF\xBF\xBD name");
  EXPECT_TRUE(json["processes_peak"].is_null());
  EXPECT_EQ(json["evidence"].dump(), "{}");
  EXPECT_EQ(json["cpu_time_ms"], 0.0);
}

TEST(Outcome, HasTheSameMembersAsAStepButNameAndStreams) {
  Json object = Json::object(), step = to_json(StepResult{});
  put_outcome(object, StepResult{}.outcome);
  for (const char* mine : {"name", "stdout", "stderr"}) EXPECT_EQ(step.erase(mine), 1U);
  EXPECT_EQ(object, step);
}

TEST(TestResultJson, HasVerdictPointsAndTheCheckersWords) {
  TestResult test;
  test.name = "1";
  test.outcome.verdict = Verdict::wrong_answer;
  test.points = 0.5;
  test.stdout_bytes = "4\n";
  test.checker_message = "token 1 (line 1): expected \"3\", got \"4\"";
  const Json json = to_json(test);
  EXPECT_EQ(json.begin().key(), "name");
  EXPECT_EQ(json["verdict"], "wrong_answer");
  EXPECT_EQ(json["points"], 0.5);
  EXPECT_EQ(json["stdout"], "4\n");
  EXPECT_EQ(json["checker_message"], test.checker_message);
  EXPECT_TRUE(to_json(TestResult{})["checker_message"].is_null());
}

TEST(LimitsJson, AreInTheUnitsOfTheWire) {
  Limits limits = default_limits();
  limits.cpu_time_us = 1'500;
  limits.cpus_milli = 2'000;
  const Json json = limits_to_json(limits);
  EXPECT_EQ(json.size(), kLimitCount);
  EXPECT_EQ(json["cpu_time_ms"].dump(), "1.5");
  EXPECT_EQ(json["wall_time_ms"].dump(), "30000");
  EXPECT_EQ(json["cpus"].dump(), "2");
  EXPECT_EQ(json["memory_bytes"], 512 * kMiB);
}

TEST(LimitsJson, OverridesShowOnlyWhatIsSet) {
  LimitOverrides overrides;
  EXPECT_EQ(overrides_to_json(overrides).dump(), "{}");
  overrides.values[*limit_index("wall_time_ms")] = 2'000'000;
  overrides.values[*limit_index("cpus")] = 500;
  EXPECT_EQ(overrides_to_json(overrides).dump(), R"({"wall_time_ms":2000,"cpus":0.5})");
}

}  // namespace
}  // namespace bailiff::core
