// Job requests: what is accepted, every fault with its pointer, and the stored document that reads back to the same request.
#include "server/api_request.h"
#include "server/blob_content.h"

#include <gtest/gtest.h>

#include <random>

#include "core/json/json.h"
#include "server/api_json.h"
#include "server_api_fakes.h"

namespace bailiff::server {
namespace {

using nlohmann::json;
using testing::test_catalogue;
using testing::test_rules;

json cpp(json more = json::object()) {
  json body = {{"language", "cpp"}, {"source", "int main(){}"}};
  body.update(more);
  return body;
}
json image(json more = json::object()) {
  json body = {{"image", "host"}, {"steps", {{{"command", {"true"}}}}}};
  body.update(more);
  return body;
}

TEST(ApiRequest, LanguageWithEverything) {
  const auto body = json::parse(R"({
    "language": "C++", "source": "int main(){}", "files": {"data/a.bin": {"base64": "/wA="}}, "args": ["a", ""],
    "env": {"K": "V=1"}, "limits": {"cpu_time_ms": 1.5, "memory_bytes": 67108864, "cpus": 0.5}, "network": "none", "priority": -10,
    "labels": {"user": "42"}, "tests": [{"stdin": "1", "expected": "2", "limits": {"processes": 1}, "points": 0.5}, {"name": "b"}],
    "checker": {"floats": {"absolute": 1e-6}}, "stop_on_failure": false, "interactive": false, "artifacts": []})");
  const auto spec = decode_job(body, test_rules());
  ASSERT_TRUE(spec) << problem_text(spec.error());
  EXPECT_EQ(spec->language, "cpp");
  EXPECT_EQ(spec->source->bytes, "int main(){}");
  EXPECT_EQ(spec->files.at("data/a.bin").bytes, std::string("\xff\0", 2));
  EXPECT_EQ(spec->args, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(spec->env.at("K"), "V=1");
  const auto limits = core::apply(core::default_limits(), spec->limits);
  EXPECT_EQ(limits.cpu_time_us, 1500U);
  EXPECT_EQ(limits.memory_bytes, 67108864U);
  EXPECT_EQ(limits.cpus_milli, 500U);
  EXPECT_EQ(spec->priority, -10);
  EXPECT_EQ(spec->labels.at("user"), "42");
  ASSERT_EQ(spec->tests.size(), 2U);
  EXPECT_EQ(spec->tests[0].name, "1");
  EXPECT_EQ(spec->tests[0].expected->bytes, "2");
  EXPECT_EQ(spec->tests[0].points, 0.5);
  EXPECT_EQ(spec->tests[1].name, "b");
  EXPECT_FALSE(spec->tests[1].expected);
  EXPECT_EQ(spec->checker.kind, core::Checker::Kind::floats);
  EXPECT_EQ(spec->checker.absolute, 1e-6);
  EXPECT_FALSE(spec->stop_on_failure);
}

TEST(ApiRequest, ImageWithSteps) {
  const auto body = json::parse(R"({"image": "host", "files": {"a/b": ""}, "steps": [
    {"name": "build", "command": ["make", "-j2"], "env": {"A": ""}, "cwd": "a", "stdin": "x", "limits": {"output_bytes": 0}, "always": true},
    {"command": "echo $A | wc"}]})");
  const auto spec = decode_job(body, test_rules());
  ASSERT_TRUE(spec) << problem_text(spec.error());
  EXPECT_EQ(spec->image, "host");
  ASSERT_EQ(spec->steps.size(), 2U);
  EXPECT_EQ(spec->steps[0].command, (std::vector<std::string>{"make", "-j2"}));
  EXPECT_EQ(spec->steps[0].cwd, "a");
  EXPECT_TRUE(spec->steps[0].always);
  EXPECT_EQ(spec->steps[1].name, "2");
  EXPECT_EQ(spec->steps[1].command, (std::vector<std::string>{"/bin/sh", "-c", "echo $A | wc"}));
}

struct Bad {
  json body;
  std::string pointer;
  const char* detail;  // a part of it
};

void expect_faults(const std::vector<Bad>& table) {
  for (const auto& bad : table) {
    const auto spec = decode_job(bad.body, test_rules());
    const auto body = bad.body.dump().substr(0, 200);
    ASSERT_FALSE(spec) << body;
    EXPECT_EQ(spec.error().status, 422U) << body;
    const auto& errors = spec.error().errors;
    const bool found = std::ranges::any_of(
        errors, [&](const Fault& fault) { return fault.pointer == bad.pointer && fault.detail.find(bad.detail) != std::string::npos; });
    EXPECT_TRUE(found) << body << " → " << problem_text(spec.error());
    EXPECT_EQ(errors.size(), 1U) << body << " → " << problem_text(spec.error());
  }
}

TEST(ApiRequest, FaultsOfTheKind) {
  expect_faults({
      {json::array(), "", "must be an object"},
      {"text", "", "must be an object"},
      {json::object(), "", "either language"},
      {{{"language", "cpp"}}, "/source", "source, files or an archive"},
      {{{"language", "klingon"}, {"source", ""}}, "/language", "unknown language \"klingon\""},
      {{{"language", 3}, {"source", ""}}, "/language", "must be a string, not 3"},
      {{{"image", "host"}}, "/steps", "must be given"},
      {image({{"image", "../etc"}}), "/image", "unknown image"},
      {cpp({{"steps", {{{"command", "x"}}}}}), "/steps", "go with image"},
      {image({{"source", "x"}}), "/source", "goes with language"},
      {image({{"args", json::array()}}), "/args", "goes with language"},
      {image({{"stdin", ""}}), "/stdin", "goes with language"},
      {image({{"tests", json::array()}}), "/tests", "goes with language"},
      {cpp({{"image", "host"}}), "/image", "not both"},
      {cpp({{"archive", 3}}), "/archive", "must be"},
      {cpp({{"archive", {{"blob", "sha256:0"}}}}), "/archive/blob", "sha256:"},
      {cpp({{"artifacts", "out/**"}}), "/artifacts", "a list"},
      {cpp({{"artifacts", {"a", "../out"}}}), "/artifacts/1", "inside the workspace"},
      {cpp({{"artifacts", {"/etc/*"}}}), "/artifacts/0", "inside the workspace"},
      {cpp({{"artifacts", json(33, "a")}}), "/artifacts", "32"},
      {cpp({{"artifacts", {"a"}}, {"tests", {{{"stdin", ""}}}}}), "/artifacts", "workspaces of their own"},
      {cpp({{"interactive", 1}}), "/interactive", "must be true, false or"},
      {cpp({{"interactive", {{"tty", 1}}}}), "/interactive/tty", "must be true or false"},
      {cpp({{"interactive", {{"rows", 1}}}}), "/interactive/rows", "unknown"},
      {cpp({{"interactive", true}, {"stdin", "x"}}), "/stdin", "reads from who is attached"},
      {cpp({{"interactive", true}, {"stdin", {{"blob", "sha256:" + std::string(64, 'a')}}}}), "/stdin", "reads from who is attached"},
      {cpp({{"interactive", true}, {"tests", {{{"stdin", "x"}}}}}), "/interactive", "tests have a stdin of their own"},
      {cpp({{"webhook", "https://example.org/"}}), "/webhook", "must be an object"},
      {cpp({{"webhook", {{"url", "https://example.org/"}}}}), "/webhook/secret", "must be given"},
      {cpp({{"webhook", {{"secret", std::string(24, 's')}}}}), "/webhook/url", "must be given"},
      {cpp({{"webhook", {{"url", 1}, {"secret", std::string(24, 's')}}}}), "/webhook/url", "must be a string"},
      {cpp({{"webhook", {{"url", "https://127.0.0.1/"}, {"secret", std::string(24, 's')}}}}), "/webhook/url", "not a public address"},
      {cpp({{"webhook", {{"url", "http://example.org/"}, {"secret", std::string(24, 's')}}}}), "/webhook/url", "https://"},
      {cpp({{"webhook", {{"url", "https://example.org/"}, {"secret", "short"}}}}), "/webhook/secret", "24 to 75 bytes"},
      {cpp({{"webhook", {{"url", "https://example.org/"}, {"secret", std::string(24, 's')}, {"x", 1}}}}), "/webhook/x", "unknown field"},
      {cpp({{"network", "full"}}), "/network", "not supported by this server"},
      {cpp({{"network", nullptr}}), "/network", "must be a string"},
      {cpp({{"sauce", 1}}), "/sauce", "unknown field \"sauce\""},
      {cpp({{"a/b~c", 1}}), "/a~1b~0c", "unknown field"},
      {cpp({{"priority", 11}}), "/priority", "from -10 to 10, not 11"},
      {cpp({{"priority", 0.5}}), "/priority", "whole number"},
      {cpp({{"priority", "1"}}), "/priority", "whole number, not \"1\""},
      {cpp({{"priority", 1e300}}), "/priority", "from -10 to 10"},
      {cpp({{"stop_on_failure", 1}}), "/stop_on_failure", "true or false"},
      {cpp({{"source", nullptr}}), "/source", "a string, "},
  });
}

TEST(ApiRequest, FaultsOfContentsAndPaths) {
  const auto files = [](const char* path, json content = "x") { return image({{"files", {{path, std::move(content)}}}}); };
  expect_faults({
      {cpp({{"source", 3}}), "/source", "not 3"},
      {cpp({{"source", {{"base64", "a"}}}}), "/source/base64", "is not base64"},
      {cpp({{"source", {{"base64", 1}}}}), "/source/base64", "must be a string"},
      {cpp({{"source", {{"blob", "sha256:00"}}}}), "/source/blob", "must be sha256:"},
      {cpp({{"source", {{"hex", "00"}}}}), "/source/hex", "unknown field"},
      {cpp({{"source", {{"base64", ""}, {"x", 1}}}}), "/source", "a string, "},
      {cpp({{"stdin", json::array()}}), "/stdin", "a string, "},
      {cpp({{"files", json::array()}}), "/files", "object of path"},
      {cpp({{"files", {{"main.cpp", ""}}}}), "/files/main.cpp", "give one of the two"},
      {{{"language", "cpp"}, {"files", {{"other.cpp", ""}}}}, "/files", "must have \"main.cpp\""},
      {files("../x"), "/files/..~1x", "relative"},
      {files("/etc/passwd"), "/files/~1etc~1passwd", "relative"},
      {files("a//b"), "/files/a~1~1b", "relative"},
      {files("a/./b"), "/files/a~1.~1b", "relative"},
      {files("a/"), "/files/a~1", "relative"},
      {files(""), "/files/", "relative"},
      {files("x", 1), "/files/x", "a string, "},
      {image({{"files", {{std::string("a\0b", 3), ""}}}}), std::string("/files/a\0b", 10), "relative"},
      {image({{"files", {{std::string(256, 'a'), ""}}}}), "/files/" + std::string(256, 'a'), "255"},
      {image({{"files", {{"a", ""}, {"a/b", ""}}}}), "/files/a~1b", "which is a file"},
      {image({{"files", {{"a", ""}, {"a/b/c", ""}}}}), "/files/a~1b~1c", "which is a file"},
      {image({{"files", {{"a", std::string(5000, 'x')}}}, {"limits", {{"workspace_bytes", 4096}}}}), "/files", "workspace_bytes is 4096"},
      {image({{"files", {{"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", ""}}}, {"limits", {{"workspace_inodes", 16}}}}), "/files", "inodes"},
  });
}

TEST(ApiRequest, FaultsOfSteps) {
  const auto step = [](json value) { return json{{"image", "host"}, {"steps", json::array({std::move(value)})}}; };
  const auto with = [&](json more) {
    json value = {{"command", "x"}};
    value.update(more);
    return step(value);
  };
  expect_faults({
      {image({{"steps", json::array()}}), "/steps", "at least one"},
      {image({{"steps", json::object()}}), "/steps", "must be a list"},
      {image({{"steps", json(65, {{"command", "x"}})}}), "/steps", "at most 64"},
      {step(3), "/steps/0", "must be an object"},
      {step(json::object()), "/steps/0/command", "must be given"},
      {step({{"command", ""}}), "/steps/0/command", "must not be empty"},
      {step({{"command", json::array()}}), "/steps/0/command", "must not be empty"},
      {step({{"command", {""}}}), "/steps/0/command/0", "must not be empty"},
      {step({{"command", {"a", 1}}}), "/steps/0/command/1", "must be a string"},
      {step({{"command", std::string("a\0", 2)}}), "/steps/0/command", "NUL"},
      {step({{"command", {"a", std::string("\0", 1)}}}), "/steps/0/command/1", "NUL"},
      {step({{"command", {"a", std::string(kMaxStringBytes + 1, 'x')}}}), "/steps/0/command/1", "at most 131071"},
      {step({{"command", json(kMaxArguments + 1, "x")}}), "/steps/0/command", "at most 1024"},
      {step({{"command", json(5, std::string(120'000, 'x'))}}), "/steps/0/command", "in all"},
      {with({{"name", ""}}), "/steps/0/name", "must not be empty"},
      {with({{"name", "a\nb"}}), "/steps/0/name", "control"},
      {with({{"name", std::string(257, 'x')}}), "/steps/0/name", "at most 256"},
      {with({{"env", {"A"}}}), "/steps/0/env", "object of strings"},
      {with({{"env", {{"A=B", "x"}}}}), "/steps/0/env/A=B", "'='"},
      {with({{"env", {{"", "x"}}}}), "/steps/0/env/", "must not be empty"},
      {with({{"env", {{"A", 1}}}}), "/steps/0/env/A", "must be a string"},
      {with({{"env", {{"A", std::string("\0", 1)}}}}), "/steps/0/env/A", "NUL"},
      {with({{"cwd", "../x"}}), "/steps/0/cwd", "inside the workspace"},
      {with({{"cwd", "/"}}), "/steps/0/cwd", "inside the workspace"},
      {with({{"always", "yes"}}), "/steps/0/always", "true or false"},
      {with({{"network", "none"}}), "/steps/0/network", "unknown field"},
  });
}

TEST(ApiRequest, FaultsOfLimits) {
  const auto limit = [](const char* name, json value) { return cpp({{"limits", {{name, std::move(value)}}}}); };
  const std::string at = "/limits/memory_bytes";
  expect_faults({
      {limit("memory_bytes", 4294967297), at, "4294967297 is above this server's ceiling of 4294967296"},
      {limit("memory_bytes", 1048575), at, "1048575 is below the floor of 1048576"},
      {limit("memory_bytes", 0), at, "0 is below the floor"},
      {limit("memory_bytes", -1), at, "-1 is below the floor of 1048576"},
      {limit("memory_bytes", 1e300), at, "above this server's ceiling"},
      {limit("memory_bytes", UINT64_MAX), at, "18446744073709551615 is above"},
      {limit("memory_bytes", 2e6 + 0.5), at, "whole number"},
      {limit("memory_bytes", "1"), at, "must be a number, not \"1\""},
      {limit("memory_bytes", nullptr), at, "must be a number, not null"},
      {limit("cpu_time_ms", 0.9), "/limits/cpu_time_ms", "0.9 is below the floor of 1"},
      {limit("cpu_time_ms", 300000.001), "/limits/cpu_time_ms", "300000.001 is above this server's ceiling of 300000"},
      {limit("cpu_time_ms", UINT64_MAX / 1000 + 1), "/limits/cpu_time_ms", "ceiling of 300000"},
      {limit("cpus", 0.001), "/limits/cpus", "below the floor of 0.01"},
      {limit("memory", 1), "/limits/memory", "unknown field"},
      {limit("io_read_bytes_per_s", 1048575), "/limits/io_read_bytes_per_s", "below the floor of 1048576"},
      {limit("io_write_ops_per_s", 99), "/limits/io_write_ops_per_s", "below the floor of 100"},
      {cpp({{"limits", json::array()}}), "/limits", "must be an object"},
      {cpp({{"tests", {{{"limits", {{"open_files", 2}}}}}}}), "/tests/0/limits/open_files", "below the floor of 3"},
  });
  EXPECT_TRUE(decode_job(limit("memory_bytes", 4294967296), test_rules()));
  EXPECT_TRUE(decode_job(limit("memory_bytes", 1e9), test_rules()));
  EXPECT_TRUE(decode_job(limit("cpu_time_ms", 1), test_rules()));
  EXPECT_TRUE(decode_job(limit("output_bytes", 0), test_rules()));
}

TEST(ApiRequest, CapsOnInputAndOutput) {
  const auto cap = [](json value) { return cpp({{"limits", {{"io_read_bytes_per_s", std::move(value)}}}}); };
  const auto index = *core::limit_index("io_read_bytes_per_s");
  EXPECT_EQ(decode_job(cap(0), test_rules())->limits.values[index], 0U);
  EXPECT_EQ(decode_job(cap(1e12), test_rules())->limits.values[index], 1'000'000'000'000U);
  auto rules = test_rules();
  rules.ceiling.io_read_bytes_per_s = 2 * core::kMiB;
  EXPECT_TRUE(decode_job(cap(2 * core::kMiB), rules));
  const auto above = decode_job(cap(2 * core::kMiB + 1), rules), none = decode_job(cap(0), rules);
  ASSERT_FALSE(above);
  ASSERT_FALSE(none);
  EXPECT_EQ(above.error().errors.at(0).detail, "2097153 is above this server's ceiling of 2097152");
  EXPECT_EQ(none.error().errors.at(0).detail, "0 (none) is above this server's ceiling of 2097152");
  rules.ceiling = core::ceiling_limits();
  rules.can_cap_io = false;
  EXPECT_TRUE(decode_job(cap(0), rules));
  const auto refused = decode_job(cap(core::kMiB), rules);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().errors.at(0).pointer, "/limits/io_read_bytes_per_s");
  const auto stored = stored_request(*decode_job(cap(0), test_rules()), test_rules().catalogue);
  EXPECT_EQ(decode_stored_request(stored, test_rules().catalogue)->limits.values[index], 0U);
}

TEST(ApiRequest, FaultsOfTestsLabelsCheckers) {
  json labels = json::object();
  for (int i = 0; i < 33; ++i) labels[std::to_string(i)] = "";
  expect_faults({
      {cpp({{"tests", json(1001, json::object())}}), "/tests", "has 1001 items; at most 1000"},
      {cpp({{"tests", {{{"points", -1}}}}}), "/tests/0/points", "from 0"},
      {cpp({{"tests", {{{"stdout", ""}}}}}), "/tests/0/stdout", "unknown field"},
      {cpp({{"tests", {{{"expected", 3}}}}}), "/tests/0/expected", "a string, "},
      {cpp({{"stdin", "x"}, {"tests", {json::object()}}}), "/stdin", "stdin of its own"},
      {cpp({{"labels", labels}}), "/labels", "at most 32"},
      {cpp({{"labels", {{"a:b", ""}}}}), "/labels/a:b", "no ':'"},
      {cpp({{"labels", {{std::string(65, 'k'), ""}}}}), "/labels/" + std::string(65, 'k'), "1 to 64"},
      {cpp({{"labels", {{"k", std::string(257, 'v')}}}}), "/labels/k", "at most 256"},
      {cpp({{"labels", {{"k", 1}}}}), "/labels/k", "must be a string"},
      {cpp({{"checker", "fuzzy"}}), "/checker", "not \"fuzzy\""},
      {cpp({{"checker", {{"language", "cpp"}}}}), "/checker", "not supported by this server"},
      {cpp({{"checker", {{"floats", 1}}}}), "/checker/floats", "must be an object"},
      {cpp({{"checker", {{"floats", {{"absolute", -1}}}}}}), "/checker/floats/absolute", "from 0"},
      {cpp({{"checker", {{"floats", {{"abs", 1}}}}}}), "/checker/floats/abs", "unknown field"},
  });
}

TEST(ApiRequest, AllFaultsAtOnce) {
  const auto spec = decode_job(
      json::parse(R"({"language": "x", "sauce": 1, "limits": {"memory_bytes": -1, "x": 1}, "tests": [{"points": "a"}, 7]})"), test_rules());
  ASSERT_FALSE(spec);
  std::vector<std::string> pointers;
  for (const auto& fault : spec.error().errors) pointers.push_back(fault.pointer);
  std::ranges::sort(pointers);
  EXPECT_EQ(pointers, (std::vector<std::string>{"/language", "/limits/memory_bytes", "/limits/x", "/sauce", "/source", "/tests/0/points",
                                                "/tests/1"}));
}

TEST(ApiRequest, WrongTypesNeverThrow) {
  const std::vector<json> values = {
      nullptr, true, 0, -1, 1.5, "", "x", json::array(), json::object(), {1, nullptr}, {{"a", nullptr}}, {{"base64", {}}}};
  const auto fields = {"language",  "source",      "image",    "steps",  "files", "args",    "stdin",           "env",
                       "limits",    "network",     "priority", "labels", "tests", "checker", "stop_on_failure", "archive",
                       "artifacts", "interactive", "webhook"};
  for (const auto& base : {cpp(), image()})
    for (const char* field : fields)
      for (const auto& value : values)
        for (const auto& wrapped :
             {value, json::array({value}), json{{"k", value}}, json::array({{{"command", value}, {"stdin", value}, {"limits", value}}})}) {
          json body = base;
          body[field] = wrapped;
          const auto spec = decode_job(body, test_rules());
          if (spec) continue;
          EXPECT_FALSE(spec.error().errors.empty());
          EXPECT_TRUE(json::accept(problem_text(spec.error())));
        }
}

TEST(ApiRequest, AWebhookIsNeverPartOfTheStoredDocument) {
  const std::string secret = "a secret of twenty-four bytes";
  const auto spec = decode_job(cpp({{"webhook", {{"url", "https://example.org/hook"}, {"secret", secret}}}}), test_rules());
  ASSERT_TRUE(spec) << problem_text(spec.error());
  ASSERT_TRUE(spec->webhook);
  EXPECT_EQ(spec->webhook->url, "https://example.org/hook");
  EXPECT_EQ(spec->webhook->secret, secret);
  const auto stored = stored_request(*spec, test_catalogue());
  EXPECT_EQ(stored.find(secret), std::string::npos);
  EXPECT_EQ(stored.find("example.org"), std::string::npos);
  EXPECT_FALSE(decode_job(cpp({{"webhook", nullptr}}), test_rules())->webhook);
}

// ---- the stored document

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(engine_); }
  bool coin() { return below(2) == 0; }
  std::string bytes() {
    std::string text;
    for (auto n = below(12); n > 0; --n) text += static_cast<char>(below(256));
    return text;
  }
  std::string text() {
    static const std::vector<std::string> kParts = {"a", "Z", "é", "😀", "\"", "\\", "\n", "/", "~", " ", "$"};
    std::string text = "t";
    for (auto n = below(6); n > 0; --n) text += kParts[below(kParts.size())];
    return text;
  }
  std::string word() { return "w" + std::to_string(below(1000)); }
  core::LimitOverrides limits() {
    core::LimitOverrides limits;
    for (std::size_t i = 0; i < core::kLimitCount; ++i)
      if (below(3) == 0)
        limits.values[i] = core::kLimitFields[i].floor + below(core::kLimitFields[i].ceiling - core::kLimitFields[i].floor + 1);
    // The files of the request must fit.
    limits.values[*core::limit_index("workspace_bytes")].reset();
    return limits;
  }

 private:
  std::mt19937 engine_;
};

core::JobSpec random_spec(Random& random) {
  core::JobSpec spec;
  for (auto n = random.below(4); n > 0; --n) spec.files.emplace("dir/" + random.word(), core::Content{random.bytes(), {}});
  for (auto n = random.below(3); n > 0; --n) spec.env.emplace(random.word(), random.text());
  for (auto n = random.below(3); n > 0; --n) spec.labels.emplace(random.word(), random.text());
  spec.limits = random.limits();
  spec.priority = static_cast<int>(random.below(21)) - 10;
  if (random.coin()) {
    spec.image = "host";
    for (auto n = 1 + random.below(3); n > 0; --n)
      spec.steps.push_back({random.word(),
                            {random.text(), random.text()},
                            {{random.word(), random.text()}},
                            random.coin() ? "" : "dir",
                            {random.bytes(), {}},
                            random.limits(),
                            random.coin()});
    return spec;
  }
  spec.language = random.coin() ? "cpp" : "python";
  spec.source = core::Content{random.bytes(), {}};
  for (auto n = random.below(3); n > 0; --n) spec.args.push_back(random.text());
  for (auto n = random.below(3); n > 0; --n) {
    core::TestSpec test{random.word(), {random.bytes(), {}}, {}, random.limits(), static_cast<double>(random.below(1000)) / 7};
    if (random.coin()) test.expected = core::Content{random.bytes(), {}};
    spec.tests.push_back(std::move(test));
  }
  if (spec.tests.empty()) spec.stdin_content.bytes = random.bytes();
  spec.checker.kind = static_cast<core::Checker::Kind>(random.below(4));
  if (spec.checker.kind == core::Checker::Kind::floats)
    spec.checker.absolute = 1e-9 * static_cast<double>(random.below(1000)), spec.checker.relative = 0.1;
  spec.stop_on_failure = random.coin();
  return spec;
}

bool same(const core::Content& a, const core::Content& b) { return a.bytes == b.bytes && a.blob == b.blob; }
bool same(const std::optional<core::Content>& a, const std::optional<core::Content>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
bool same(const core::StepSpec& a, const core::StepSpec& b) {
  return a.name == b.name && a.command == b.command && a.env == b.env && a.cwd == b.cwd && same(a.stdin_content, b.stdin_content) &&
         a.limits == b.limits && a.always == b.always;
}
bool same(const core::TestSpec& a, const core::TestSpec& b) {
  return a.name == b.name && same(a.stdin_content, b.stdin_content) && same(a.expected, b.expected) && a.limits == b.limits &&
         a.points == b.points;
}
bool same(const core::JobSpec& a, const core::JobSpec& b) {
  const auto parts = [](const auto& x, const auto& y) {
    return std::ranges::equal(x, y, [](const auto& p, const auto& q) { return same(p, q); });
  };
  const auto file = [](const auto& p, const auto& q) { return p.first == q.first && same(p.second, q.second); };
  return a.language == b.language && a.image == b.image && same(a.source, b.source) && std::ranges::equal(a.files, b.files, file) &&
         parts(a.steps, b.steps) && a.args == b.args && same(a.stdin_content, b.stdin_content) && a.env == b.env && a.limits == b.limits &&
         a.priority == b.priority && a.labels == b.labels && parts(a.tests, b.tests) && a.checker.kind == b.checker.kind &&
         a.checker.absolute == b.checker.absolute && a.checker.relative == b.checker.relative && a.stop_on_failure == b.stop_on_failure;
}

TEST(ApiRequest, StoredRequestReadsBackEqual) {
  Random random(20260131);
  for (int i = 0; i < 2000; ++i) {
    const auto spec = random_spec(random);
    const auto stored = stored_request(spec, test_catalogue());
    const auto back = decode_stored_request(stored, test_catalogue());
    ASSERT_TRUE(back) << stored << problem_text(back.error());
    ASSERT_TRUE(same(spec, *back)) << stored;
    ASSERT_EQ(stored_request(*back, test_catalogue()), stored);
  }
}

TEST(ApiRequest, StoredHeadNamesTheImage) {
  const auto spec = decode_job(cpp(), test_rules());
  EXPECT_EQ(stored_request(*spec, test_catalogue()),
            R"({"language":"cpp","language_version":"1.0","image":"host","image_digest":"sha256:0123",)"
            R"("request":{"language":"cpp","source":"int main(){}"}})");
}

TEST(ApiRequest, StoredLimitsOutliveALoweredCeiling) {
  auto rules = test_rules();
  const auto spec = decode_job(cpp({{"limits", {{"memory_bytes", 4294967296}}}}), rules);
  rules.ceiling.memory_bytes = core::kMiB;
  ASSERT_TRUE(decode_stored_request(stored_request(*spec, test_catalogue()), test_catalogue()));
  EXPECT_FALSE(decode_job(cpp({{"limits", {{"memory_bytes", 4294967296}}}}), rules));
}

TEST(ApiRequest, AStoredRequestOfAnotherImageIsNotRun) {
  const auto spec = decode_job(cpp(), test_rules());
  auto stored = stored_request(*spec, test_catalogue());
  ASSERT_TRUE(decode_stored_request(stored, test_catalogue()));
  stored.replace(stored.find("sha256:0123"), 11, "sha256:4567");
  const auto changed = decode_stored_request(stored, test_catalogue());
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().detail.find("image host"), std::string::npos) << changed.error().detail;
}

TEST(ApiRequest, UnreadableStoredRequest) {
  for (const char* stored : {"", "[]", "{}", "{\"request\":{\"language\":\"gone\",\"source\":\"\"}}"})
    EXPECT_FALSE(decode_stored_request(stored, test_catalogue())) << stored;
}

constexpr const char* kDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

RequestRules rules_with_blobs(std::uint64_t bytes) {
  auto rules = testing::test_rules();
  rules.blob_bytes = [bytes](const std::string& digest) { return digest == kDigest ? std::optional(bytes) : std::nullopt; };
  return rules;
}

TEST(ApiRequest, BlobsStandWhereverContentsDo) {
  const json blob = {{"blob", kDigest}};
  const json body = {{"language", "cpp"}, {"source", blob}, {"files", {{"a", blob}}}, {"tests", {{{"stdin", blob}, {"expected", blob}}}}};
  auto spec = decode_job(body, rules_with_blobs(10));
  ASSERT_TRUE(spec) << problem_text(spec.error());
  EXPECT_EQ(spec->source->blob, kDigest);
  EXPECT_EQ(spec->tests[0].expected->blob, kDigest);
  EXPECT_EQ(blobs_of(*spec), std::vector<std::string>{kDigest});
  const auto stored = stored_request(*spec, testing::test_catalogue());
  auto again = decode_stored_request(stored, testing::test_catalogue());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->tests[0].stdin_content.blob, kDigest);
  EXPECT_EQ(stored_request(*again, testing::test_catalogue()), stored);
}

TEST(ApiRequest, ABlobThatIsNotThereOrTooLargeIsAFault) {
  const std::string other = std::string("sha256:") + std::string(64, '0');
  const auto first_fault = [](const json& body, std::uint64_t bytes) {
    const auto spec = decode_job(body, rules_with_blobs(bytes));
    EXPECT_FALSE(spec);
    return spec || spec.error().errors.empty() ? Fault{} : spec.error().errors.front();
  };
  EXPECT_EQ(first_fault(cpp({{"stdin", {{"blob", other}}}}), 1).pointer, "/stdin/blob");
  EXPECT_EQ(first_fault(cpp({{"files", {{"x", {{"blob", kDigest}}}}}}), core::ceiling_limits().workspace_bytes + 1).pointer, "/source");
  const auto many = first_fault(cpp({{"stdin", {{"blob", kDigest}}}}), kMaxJobBlobBytes + 1);
  EXPECT_NE(many.detail.find("the blobs of the job"), std::string::npos) << many.detail;
}

TEST(ApiRequest, ArtifactsAreKeptAsTheyWereAskedFor) {
  const auto spec = decode_job(cpp({{"artifacts", {"out/**", "*.[ch]"}}}), testing::test_rules());
  ASSERT_TRUE(spec);
  const auto again = decode_stored_request(stored_request(*spec, testing::test_catalogue()), testing::test_catalogue());
  EXPECT_EQ(again->artifacts, (std::vector<std::string>{"out/**", "*.[ch]"}));
}

}  // namespace
}  // namespace bailiff::server
