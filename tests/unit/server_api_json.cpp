// JSON from a stranger: bounds, strictness, duplicate keys.
#include "server/api_json.h"

#include <gtest/gtest.h>

#include <string>

namespace bailiff::server {
namespace {

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ApiJson, ReadsWhatIsValid) {
  const auto parsed = parse_json(R"( {"a": [1, -2, 2.5, "x", null, true, {}], "b": "\u00e9\ud83d\ude00"} )");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->value.dump(), R"({"a":[1,-2,2.5,"x",null,true,{}],"b":"é😀"})");
  EXPECT_TRUE(parsed->duplicates.empty());
  EXPECT_EQ(parse_json("3")->value, 3);
}

TEST(ApiJson, RefusesWhatIsNotJson) {
  const std::vector<std::string> bodies = {"",
                                           " ",
                                           "{",
                                           "[1,]",
                                           "{\"a\":1,}",
                                           "{'a':1}",
                                           "{a:1}",
                                           "NaN",
                                           "[NaN]",
                                           "Infinity",
                                           "-",
                                           "01",
                                           "1.",
                                           ".5",
                                           "+1",
                                           "\"abc",
                                           "\"\\x\"",
                                           "tru",
                                           "{} {}",
                                           "{}x",
                                           "/* c */ {}",
                                           "\"\\ud800\"",
                                           "\"\\udc00\"",
                                           "\"\\ud800\\u0041\"",
                                           "\"\xff\"",
                                           "\"\xc0\xaf\"",
                                           "\"\xed\xa0\x80\"",
                                           "\"\xf4\x90\x80\x80\"",
                                           "\"a\nb\"",
                                           std::string("\"a\0b\"", 5),
                                           std::string("{}\0", 3),
                                           "[1e400]",
                                           "[-1e400]",
                                           "\xef\xbb"};
  for (const auto& body : bodies) {
    const auto parsed = parse_json(body);
    ASSERT_FALSE(parsed) << body;
    EXPECT_EQ(parsed.error().status, 400U) << body;
    EXPECT_FALSE(parsed.error().detail.empty());
  }
}

TEST(ApiJson, TellsThePlace) {
  EXPECT_EQ(parse_json("{\n  \"a\": x}").error().detail, "the body is not valid JSON at line 2, column 8 (byte 9)");
  EXPECT_EQ(parse_json("{\"a\":").error().detail, "the body ends in the middle of its JSON");
  EXPECT_EQ(parse_json("").error().detail, "the body is empty; a JSON object is wanted");
  EXPECT_NE(parse_json("{\"a\": 1e400}").error().detail.find("out of range"), std::string::npos);
}

TEST(ApiJson, DepthIsBounded) {
  EXPECT_TRUE(parse_json(nested(kMaxJsonDepth)));
  const auto deep = parse_json(nested(kMaxJsonDepth + 1));
  ASSERT_FALSE(deep);
  EXPECT_NE(deep.error().detail.find("64 levels"), std::string::npos);
  EXPECT_FALSE(parse_json(nested(100'000)));
  EXPECT_FALSE(parse_json(std::string(100'000, '[')));
}

TEST(ApiJson, CountIsBounded) {
  const auto list = [](std::size_t count) {
    std::string text = "[0";
    for (std::size_t i = 1; i < count; ++i) text += ",0";
    return text + "]";
  };
  EXPECT_TRUE(parse_json(list(kMaxJsonValues - 1)));  // and the list itself
  EXPECT_FALSE(parse_json(list(kMaxJsonValues)));
}

TEST(ApiJson, DuplicateKeysAreNamed) {
  const auto parsed = parse_json(R"({"a": 1, "a": 2, "l": [0, {"x/y": 1, "x/y": {"q": 1, "q": 2}}]})");
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->duplicates.size(), 3U);
  EXPECT_EQ(parsed->duplicates[0].pointer, "/a");
  EXPECT_EQ(parsed->duplicates[1].pointer, "/l/1/x~1y/q");
  EXPECT_EQ(parsed->duplicates[2].pointer, "/l/1/x~1y");
  EXPECT_EQ(parsed->value["a"], 1);
}

TEST(ApiJson, PointerTokensAreEscapedAndCut) {
  EXPECT_EQ(pointer_to("/a", "b~c/d"), "/a/b~0c~1d");
  EXPECT_EQ(pointer_to("", ""), "/");
  const auto cut = pointer_to("", std::string(1023, 'x') + "ééé");
  EXPECT_EQ(cut, "/" + std::string(1023, 'x') + "…");
}

}  // namespace
}  // namespace bailiff::server
