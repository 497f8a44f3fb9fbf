// Header fields, targets and the router, as pure functions.
#include "server/http_fields.h"

#include <gtest/gtest.h>

#include "server/http_message.h"
#include "server/http_router.h"
#include "server/http_target.h"

namespace bailiff::server {
namespace {

std::string range_of(std::string_view range, std::uint64_t total) {
  const auto parsed = parse_range(range, total);
  if (std::holds_alternative<WholeBody>(parsed)) return "whole";
  if (std::holds_alternative<Unsatisfiable>(parsed)) return "unsatisfiable";
  const auto part = std::get<ByteRange>(parsed);
  return std::to_string(part.first) + "+" + std::to_string(part.length);
}

TEST(HttpFields, Range) {
  EXPECT_EQ(range_of("bytes=0-0", 10), "0+1");
  EXPECT_EQ(range_of("bytes=2-5", 10), "2+4");
  EXPECT_EQ(range_of("bytes=2-", 10), "2+8");
  EXPECT_EQ(range_of("bytes=2-99999999999999999999999", 10), "2+8");
  EXPECT_EQ(range_of("bytes=-3", 10), "7+3");
  EXPECT_EQ(range_of("bytes=-30", 10), "0+10");
  EXPECT_EQ(range_of("Bytes = 9-9", 10), "9+1");
  EXPECT_EQ(range_of("bytes=10-", 10), "unsatisfiable");
  EXPECT_EQ(range_of("bytes=99999999999999999999999-", 10), "unsatisfiable");
  EXPECT_EQ(range_of("bytes=-0", 10), "unsatisfiable");
  EXPECT_EQ(range_of("bytes=0-", 0), "unsatisfiable");
  EXPECT_EQ(range_of("bytes=-1", 0), "unsatisfiable");
  for (const char* ignored :
       {"", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=1-2,4-5", "items=0-1", "bytes=+1-2", "bytes=1 2-3", "bytes=--1"})
    EXPECT_EQ(range_of(ignored, 10), "whole") << ignored;
}

TEST(HttpFields, PreferWait) {
  using std::chrono::seconds;
  const auto wait = [](std::string_view prefer) { return preferred_wait(prefer, seconds{60}); };
  EXPECT_EQ(wait("wait=5"), seconds{5});
  EXPECT_EQ(wait("respond-async, WAIT=\"7\"; x=1"), seconds{7});
  EXPECT_EQ(wait("foo=\"wait=3\", wait = 4"), seconds{4});
  EXPECT_EQ(wait("wait=0"), seconds{0});
  EXPECT_EQ(wait("wait=600"), seconds{60});
  EXPECT_EQ(wait("wait=999999999999999999999"), seconds{60});
  for (const char* none : {"", "wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "waits=3", ",,;"})
    EXPECT_EQ(wait(none), std::nullopt) << none;
}

TEST(HttpFields, EntityTags) {
  const auto tag = entity_tag("body");
  EXPECT_EQ(tag, entity_tag("body"));
  EXPECT_NE(tag, entity_tag("body2"));
  EXPECT_EQ(tag.size(), 34U);
  EXPECT_TRUE(matches_tag(tag, tag));
  EXPECT_TRUE(matches_tag("*", tag));
  EXPECT_TRUE(matches_tag("\"x\", W/" + tag, tag));
  EXPECT_FALSE(matches_tag("\"x,y\", \"" + tag + "\"", tag));
  EXPECT_FALSE(matches_tag("", tag));
}

TEST(HttpFields, Accept) {
  for (const char* yes : {"", "*/*", "application/json", "APPLICATION/JSON", "text/html, application/*;q=0.1", "text/html,*/*;q=0.8",
                          "application/json;q=0.001"})
    EXPECT_TRUE(accepts(yes, "application/json")) << yes;
  for (const char* no : {"text/html", "application/xml", "application/json;q=0", "*/*, application/json;q=0.0", "*/*;q=0", "app/json"})
    EXPECT_FALSE(accepts(no, "application/json")) << no;
}

TEST(HttpFields, JsonTypes) {
  for (const char* yes :
       {"application/json", "Application/JSON; charset=UTF-8", "application/job+json", "application/json;charset=\"utf-8\""})
    EXPECT_TRUE(is_json_type(yes)) << yes;
  for (const char* no :
       {"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "text/json+x", "application/jsonx"})
    EXPECT_FALSE(is_json_type(no)) << no;
}

TEST(HttpFields, DigestAndDate) {
  EXPECT_EQ(sha256_digest("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(HttpFields, HeadersOfOneNameAreJoined) {
  const Request request{"GET", "/", {{"Prefer", "a"}, {"X", "y"}, {"prefer", "wait=1"}}, "", "", {}};
  EXPECT_EQ(request.header("PREFER"), "a, wait=1");
  EXPECT_EQ(request.header("absent"), std::nullopt);
}

TEST(HttpTarget, TakesApart) {
  const auto target = parse_target("/v1/a%2Fb/c:d?x=1&y=%26+z&flag&&x=2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->segments, (std::vector<std::string>{"v1", "a/b", "c:d"}));
  const std::vector<std::pair<std::string, std::string>> query = {{"x", "1"}, {"y", "& z"}, {"flag", ""}, {"x", "2"}};
  EXPECT_EQ(target->query, query);
  EXPECT_TRUE(parse_target("/")->segments.empty());
  EXPECT_EQ(parse_target("http://host:80/livez?a=b")->segments, std::vector<std::string>{"livez"});
  EXPECT_TRUE(parse_target("http://host")->segments.empty());
  EXPECT_EQ(parse_target("/a/")->segments, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(parse_target("//a")->segments, (std::vector<std::string>{"", "a"}));
}

TEST(HttpTarget, RefusesNonsense) {
  std::string many = "/?";
  for (std::size_t i = 0; i <= kMaxQueryParameters; ++i) many += "a=b&";
  for (const std::string& text :
       {std::string(""), std::string("*"), std::string("a"), std::string("/%"), std::string("/%4"), std::string("/%zz"),
        std::string("/%00"), std::string("/?a=%0"), std::string("/a#b"), std::string("ftp://x/"), many})
    EXPECT_FALSE(parse_target(text)) << text;
}

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    for (const auto& [method, pattern] : std::vector<std::pair<std::string, std::string>>{{"GET", "/"},
                                                                                          {"GET", "/jobs"},
                                                                                          {"POST", "/jobs"},
                                                                                          {"GET", "/jobs/{id}"},
                                                                                          {"POST", "/jobs/{id}:cancel"},
                                                                                          {"GET", "/jobs/{id}/steps/{n}/stdout"}})
      router_.add({.method = method, .pattern = pattern, .handler = nullptr});
  }
  std::string route(std::string_view method, std::string_view target) {
    const auto match = router_.match(method, *parse_target(target));
    std::string text = match.route != nullptr ? match.route->method + match.route->pattern : "none";
    for (const auto& value : match.path_values) text += " " + value;
    return text + " [" + match.allow + "]";
  }
  Router router_;
};

TEST_F(RouterTest, Matches) {
  EXPECT_EQ(route("GET", "/"), "GET/ [GET, HEAD, OPTIONS]");
  EXPECT_EQ(route("POST", "/jobs"), "POST/jobs [GET, HEAD, POST, OPTIONS]");
  EXPECT_EQ(route("HEAD", "/jobs"), "GET/jobs [GET, HEAD, POST, OPTIONS]");
  EXPECT_EQ(route("GET", "/jobs/7"), "GET/jobs/{id} 7 [GET, HEAD, OPTIONS]");
  EXPECT_EQ(route("POST", "/jobs/7:cancel"), "POST/jobs/{id}:cancel 7 [POST, OPTIONS]");
  EXPECT_EQ(route("GET", "/jobs/7/steps/0/stdout"), "GET/jobs/{id}/steps/{n}/stdout 7 0 [GET, HEAD, OPTIONS]");
}

TEST_F(RouterTest, Refuses) {
  EXPECT_EQ(route("DELETE", "/jobs/7"), "none [GET, HEAD, OPTIONS]");
  EXPECT_EQ(route("GET", "/jobs/7:cancel"), "none [POST, OPTIONS]");
  for (const char* unknown :
       {"/job", "/jobs/", "//jobs", "/jobs/7/", "/jobs/7:pause", "/jobs/:cancel", "/jobs/7/steps/0", "/JOBS", "/jobs/7/steps//stdout"})
    EXPECT_EQ(route("GET", unknown), "none []") << unknown;
}

}  // namespace
}  // namespace bailiff::server
