// The texts of a request's head: its target, and header fields that the API understands. The first byte says which of them the rest is.
#include <variant>

#include "core/id.h"
#include "server/http_fields.h"
#include "server/http_router.h"
#include "server/http_target.h"
#include "tests/fuzz/fuzz.h"

namespace bailiff::fuzz {
namespace {

const server::Router& router() {
  static const server::Router all = [] {
    server::Router made;
    for (const char* pattern :
         {"/", "/v1/jobs", "/v1/jobs:batch", "/v1/jobs/{id}", "/v1/jobs/{id}:cancel", "/v1/jobs/{id}/steps/{n}/stdout"}) {
      server::Route route;
      route.method = "GET";
      route.pattern = pattern;
      made.add(std::move(route));
    }
    return made;
  }();
  return all;
}

void target(std::string_view text) {
  const auto parsed = server::parse_target(text);
  if (!parsed) return;
  require(parsed->query.size() <= server::kMaxQueryParameters);
  for (const auto& segment : parsed->segments) require(segment.find('\0') == std::string::npos);
  const auto match = router().match("HEAD", *parsed);
  require((match.route == nullptr) == match.allow.empty());
  for (const auto& value : match.path_values) {
    require(!value.empty() && value.find(':') == std::string::npos);
    if (core::is_job_id(value)) require(value.size() == core::kJobIdLength && value.find('/') == std::string::npos);
  }
}

void range(std::string_view text) {
  for (const std::uint64_t total : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, ~std::uint64_t{0}}) {
    const auto parsed = server::parse_range(text, total);
    if (const auto* one = std::get_if<server::ByteRange>(&parsed))
      require(one->length > 0 && one->first < total && one->length <= total - one->first);
  }
}

void fields(std::string_view text) {
  constexpr std::chrono::seconds kLongest{300};
  const auto wait = server::preferred_wait(text, kLongest);
  require(!wait || (wait->count() >= 0 && *wait <= kLongest));
  require(!server::matches_tag(text, "\"a\"") || text.find('*') != std::string_view::npos || text.find("\"a\"") != std::string_view::npos);
  (void)server::accepts(text, "application/json");
  (void)server::is_json_type(text);
  (void)server::is_same_origin(std::string(text), "localhost:8080");
  require(server::is_same_origin(std::nullopt, std::string(text)));
}

}  // namespace

std::vector<std::string> seeds() {
  return {"t/v1/jobs/01m86d06gs9zmntb291gg4afgq:cancel?label=a%3Ab&limit=5&cursor=x+y",
          "thttp://host:80/v1/jobs?a=1&a=2&&=",
          "t/v1/jobs/%2e%2e/steps/0/stdout",
          "t/%00/%zz/%2F//",
          "rbytes=0-499",
          "rbytes=-500, 0-0",
          "rbytes=18446744073709551615-18446744073709551616",
          "rbytes=5-",
          "fwait=10, respond-async; foo=\"bar\\\"\"",
          "fW/\"a\", \"b\", *",
          "fapplication/json;q=0.5, text/*;q=0, */*;q=1.000",
          "fapplication/problem+json; charset=\"utf-8\"",
          "fhttps://[::1]:8080"};
}

}  // namespace bailiff::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 't') bailiff::fuzz::target(text);
  else if (data[0] == 'r') bailiff::fuzz::range(text);
  else bailiff::fuzz::fields(text);
  return 0;
}
