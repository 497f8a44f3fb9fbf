// What people and shells see: exit codes, clean text, figures, jobs, failures.
#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cli/doctor.h"
#include "cli/top.h"

namespace bailiff::cli {
namespace {

using core::Json;
using testing::HasSubstr;
using testing::Not;

const Paint kPlain(false), kColours(true);

TEST(ExitCodes, AreDistinctForEveryVerdict) {
  std::set<int> codes;
  for (std::size_t i = 0; i < core::kVerdictNames.size(); ++i) codes.insert(exit_code(static_cast<core::Verdict>(i)));
  EXPECT_EQ(codes.size(), core::kVerdictNames.size() - 1);  // ok and accepted are one
  EXPECT_EQ(exit_code(core::Verdict::ok), 0);
  EXPECT_EQ(exit_code(core::Verdict::accepted), 0);
  EXPECT_EQ(exit_code(core::Verdict::runtime_error), 1);
  EXPECT_EQ(exit_code(core::Verdict::memory_limit_exceeded), 6);
  EXPECT_GE(exit_code(core::Verdict::internal_error), 64);
}

TEST(ExitCodes, TheHelpNamesEveryVerdict) {
  for (const char* name : core::kVerdictNames) EXPECT_THAT(exit_code_help(), HasSubstr(name));
}

TEST(Sanitise, KeepsTextAndShowsControls) {
  EXPECT_EQ(sanitise("a\tb\nč 日本 🙂"), "a\tb\nč 日本 🙂");
  EXPECT_EQ(sanitise("\x1b[31mred\x07\r\x7f"), "^[[31mred^G^M^?");
  EXPECT_EQ(sanitise(std::string_view("a\0b", 3)), "a^@b");
  EXPECT_EQ(sanitise("\xC2\x9B"
                     "31m"),
            "<U+009B>31m");
  EXPECT_EQ(sanitise("\u202Eevil\u2066"), "<U+202E>evil<U+2066>");
  EXPECT_EQ(sanitise("\x9B"
                     "31m\xff"),
            "\uFFFD"
            "31m\uFFFD");
  EXPECT_EQ(sanitise_line("a\nb\tc"), "a b c");
}

TEST(Top, ReadsMetrics) {
  const std::string metrics = "# HELP a_total x\n# TYPE a_total counter\na_total{verdict=\"ok\"} 12\na_total{x=\"1\",verdict=\"bad\"} 3.5\n"
                              "a_total{verdict=\"ok\",x=\"2\"} 1\na_total_more{verdict=\"ok\"} 100\nplain 7\na_total{verdict=\"z\"} none\n";
  EXPECT_EQ(metric_values(metrics, "a_total", "verdict"), (std::map<std::string, double>{{"ok", 13}, {"bad", 3.5}}));
  EXPECT_EQ(metric_values(metrics, "plain", ""), (std::map<std::string, double>{{"", 7}}));
  EXPECT_TRUE(metric_values(metrics, "nothing", "").empty());
}

TEST(Top, ShowsRatesAndFitsTheScreen) {
  TopLook look;
  look.system = {{"version", "1"},
                 {"ready", true},
                 {"slots", {{{"state", "busy"}}, {{"state", "idle"}}, {{"state", "dead"}}}},
                 {"queue", {{"queued", 7}, {"running", 1}, {"bound", 100}}}};
  look.jobs = {{"items", Json::array()}};
  for (int i = 0; i < 50; ++i)
    look.jobs["items"].push_back({{"id", "job" + std::to_string(i)}, {"state", "queued"}, {"language", "\x1b[2J"}});
  TopLook before = look;
  before.finished = {{"ok", 10}};
  look.finished = {{"ok", 30}, {"runtime_error", 4}};
  const auto page = render_top(look, &before, 2, 20, kPlain);
  EXPECT_THAT(page, HasSubstr("1 of 3 busy  #.x"));
  EXPECT_THAT(page, HasSubstr("7 waiting of 100"));
  EXPECT_THAT(page, HasSubstr("12.0 a second  ok 10.0  runtime_error 2.0"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
  EXPECT_LE(std::ranges::count(page, '\n'), 20);
  EXPECT_GE(std::ranges::count(page, '\n'), 18);
  EXPECT_THAT(render_top(look, nullptr, 1, 20, kPlain), Not(HasSubstr("a second")));
}

TEST(Sanitise, LeavesNoControlByteWhateverComes) {
  std::string all;
  for (int i = 0; i < 256; ++i)
    for (int j = 0; j < 256; ++j) all += {static_cast<char>(i), static_cast<char>(j)};
  const std::string clean = sanitise(all);
  EXPECT_TRUE(core::is_utf8(clean));
  for (const char c : clean)
    EXPECT_FALSE((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f) << static_cast<int>(c);
  for (std::size_t at = clean.find('\xC2'); at != std::string::npos; at = clean.find('\xC2', at + 1))
    EXPECT_GE(static_cast<unsigned char>(clean[at + 1]), 0xA0);
}

TEST(Figures, AreShort) {
  EXPECT_EQ(duration_text(0.4213), "0.42 ms");
  EXPECT_EQ(duration_text(12.44), "12.4 ms");
  EXPECT_EQ(duration_text(1234), "1.23 s");
  EXPECT_EQ(size_text(0), "0 B");
  EXPECT_EQ(size_text(1536), "1.5 KiB");
  EXPECT_EQ(size_text(3.4 * 1048576), "3.4 MiB");
  EXPECT_EQ(size_text(2147483648.0), "2.00 GiB");
}

Json job() {
  return Json::parse(
      R"({"id": "j1", "state": "finished", "verdict": "runtime_error", "message": null, "language": "cpp", "image": "host", "attempt": 2,
    "image_digest": "sha256:ab", "created_at": "2026-01-01T00:00:00Z", "labels": {"user": "42\u001b[2J"}, "priority": 3,
    "steps": [{"name": "compile", "verdict": "ok", "exit_code": 0, "signal": null, "message": null, "cpu_time_ms": 200,
               "wall_time_ms": 210.5, "memory_peak_bytes": 52428800, "stdout": "", "stderr": "warning\n",
               "stdout_truncated": false, "stderr_truncated": false},
              {"name": "run", "verdict": "runtime_error", "exit_code": null, "signal": 11, "message": null,
               "cpu_time_ms": 1.5, "wall_time_ms": 2.25, "memory_peak_bytes": 3565158, "stdout": {"base64": "G1sy/w=="},
               "stderr": "", "stdout_truncated": true, "stderr_truncated": false}]})");
}

TEST(Summary, TellsTheDecidingStep) {
  EXPECT_EQ(summary(job(), kPlain),
            "runtime_error (signal 11 SIGSEGV), cpu 1.50 ms, wall 2.25 ms, memory 3.4 MiB, stdout cut at the output limit");
  Json exited = job();
  exited["steps"][1]["signal"] = nullptr;
  exited["steps"][1]["exit_code"] = 42;
  exited["message"] = "see\nstderr\x1b";
  EXPECT_EQ(summary(exited, kPlain),
            "runtime_error (exit code 42), cpu 1.50 ms, wall 2.25 ms, memory 3.4 MiB, stdout cut at the output limit: see stderr^[");
  EXPECT_EQ(summary(Json{{"id", "j"}, {"state", "queued"}, {"verdict", nullptr}}, kPlain), "j is queued");
  const Json paused{{"id", "j"}, {"state", "running"}, {"paused", true}, {"verdict", nullptr}};
  EXPECT_EQ(summary(paused, kPlain), "j is running (paused)");
  EXPECT_THAT(render_job(paused, kPlain), HasSubstr("running (paused)"));
}

TEST(Summary, TellsTheExtremesOfTheTests) {
  Json tested = job();
  tested["verdict"] = "wrong_answer";
  tested["score"] = 1.0;
  tested["tests"] = Json::parse(R"([{"verdict": "accepted", "cpu_time_ms": 1, "wall_time_ms": 9, "memory_peak_bytes": 1024},
                                    {"verdict": "wrong_answer", "cpu_time_ms": 5, "wall_time_ms": 6, "memory_peak_bytes": 2048}])");
  EXPECT_EQ(summary(tested, kPlain), "wrong_answer, score 1, 1 of 2 tests accepted, at most cpu 5.00 ms, wall 9.00 ms, memory 2.0 KiB");
}

TEST(Summary, ColoursOnlyWhereTheyAreWelcome) {
  EXPECT_THAT(summary(job(), kColours), testing::StartsWith("\x1b[31mruntime_error\x1b[0m"));
  EXPECT_THAT(summary(job(), kPlain), Not(HasSubstr("\x1b")));
}

TEST(RenderJob, ShowsAllOfItClean) {
  const std::string page = render_job(job(), kPlain);
  for (const char* part : {"j1", "finished", "host sha256:ab", "user=42^[[2J", "priority  3", "compile", "210.5 ms", "50.0 MiB",
                           "runtime_error (signal 11 SIGSEGV)", "--- step compile: stderr, 8 bytes\nwarning\n",
                           "--- step run: stdout, 4 bytes, cut at the output limit\n^[[2\uFFFD\n"})
    EXPECT_THAT(page, HasSubstr(part));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
}

TEST(RenderJob, TakesAnyShapeOfDocument) {
  for (const char* text : {"null", "[]", "3", R"({"steps": 3, "tests": {}, "labels": [], "priority": "x"})",
                           R"({"steps": [null, 1, {"name": {}, "stdout": {"base64": "?"}}]})", R"({"verdict": {}, "steps": [[]]})"}) {
    const Json document = Json::parse(text);
    EXPECT_NO_THROW({
      (void)render_job(document, kPlain);
      (void)summary(document, kPlain);
    }) << text;
    EXPECT_EQ(verdict_of(document), core::Verdict::internal_error);
  }
}

TEST(RenderJobs, IsATable) {
  EXPECT_EQ(render_jobs({}, kPlain), "no jobs\n");
  const std::string page = render_jobs({job(), Json{{"id", "j22"}, {"state", "queued"}, {"verdict", nullptr}}}, kPlain);
  EXPECT_THAT(page, HasSubstr("job  state     verdict        language  created               labels\n"));
  EXPECT_THAT(page, HasSubstr("\nj22  queued\n"));
}

TEST(RenderFailure, ListsEachPointer) {
  Failure failure{kExitRefused, "Bad request: 2 faults", "mend it",
                  Json::parse(R"({"errors": [{"pointer": "/limits/x", "detail": "unknown\u001b"}, {"pointer": "/a", "detail": "b"}]})")};
  EXPECT_EQ(render_failure(failure, kPlain), "bailiff: Bad request: 2 faults\n  /limits/x: unknown^[\n  /a: b\n  mend it\n");
}

TEST(Doctor, IsHealthyWhenAllThatIsRequiredIsThere) {
  std::vector<Finding> findings = {{"a", true, true, "found", ""}, {"language.x", false, false, "X", "apt-get install x"}};
  EXPECT_TRUE(healthy(findings));
  EXPECT_THAT(render_findings(findings, kPlain), testing::EndsWith("everything that Bailiff needs is here\n"));
  findings.push_back({"b", false, true, "", "mount it"});
  EXPECT_FALSE(healthy(findings));
  EXPECT_THAT(render_findings(findings, kPlain),
              testing::AllOf(HasSubstr("MISSING  b\n"), HasSubstr("fix: mount it\n"), HasSubstr("1 of what Bailiff needs is missing")));
  const Json document = findings_to_json(findings);
  EXPECT_EQ(document["healthy"], false);
  EXPECT_EQ(document["items"][2]["fix"], "mount it");
  EXPECT_EQ(document["items"][0]["fix"], nullptr);
}

}  // namespace
}  // namespace bailiff::cli
