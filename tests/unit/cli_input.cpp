// What the command line names, the request made from it, and the failures that answers become.
#include "cli/input.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/app.h"
#include "cli/artifacts.h"
#include "cli/http_client.h"
#include "cli/remote.h"
#include "cli/run.h"
#include "core/fd.h"

namespace bailiff::cli {
namespace {

using testing::HasSubstr;

std::uint64_t limit(const std::string& assignment) {
  core::LimitOverrides limits;
  const auto parsed = parse_limit(assignment, limits);
  EXPECT_TRUE(parsed) << assignment;
  const auto index = core::limit_index(assignment.substr(0, assignment.find('=')));
  return limits.values[index.value()].value();
}

TEST(ParseLimit, UnderstandsUnits) {
  EXPECT_EQ(limit("cpu_time_ms=2000"), 2'000'000U);
  EXPECT_EQ(limit("cpu_time_ms=1.5s"), 1'500'000U);
  EXPECT_EQ(limit("wall_time_ms=0.25"), 250U);
  EXPECT_EQ(limit("wall_time_ms=2min"), 120'000'000U);
  EXPECT_EQ(limit("memory_bytes=67108864"), 64 * core::kMiB);
  EXPECT_EQ(limit("memory_bytes=64M"), 64 * core::kMiB);
  EXPECT_EQ(limit("memory_bytes=64MiB"), 64 * core::kMiB);
  EXPECT_EQ(limit("memory_bytes=64MB"), 64'000'000U);
  EXPECT_EQ(limit("memory_bytes=1.5G"), 1536 * core::kMiB);
  EXPECT_EQ(limit("cpus=0.5"), 500U);
  EXPECT_EQ(limit("processes=7"), 7U);
}

TEST(ParseLimit, RefusesTheRest) {
  core::LimitOverrides limits;
  for (const char* text : {"memory=1", "", "=", "memory_bytes", "memory_bytes=", "memory_bytes=x", "memory_bytes=-1", "memory_bytes=1s",
                           "memory_bytes=1T", "memory_bytes=1 ", "cpu_time_ms=1M", "processes=1K", "memory_bytes=nan", "memory_bytes=inf",
                           "memory_bytes=99999999999999999999", "cpus=1e3"}) {
    const auto parsed = parse_limit(text, limits);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, kExitUsage);
    EXPECT_FALSE(parsed.error().next.empty());
  }
  EXPECT_EQ(limits, core::LimitOverrides{});
}

TEST(CheckLimits, NamesBothBounds) {
  core::LimitOverrides limits;
  ASSERT_TRUE(parse_limit("cpu_time_ms=300s", limits));
  EXPECT_TRUE(check_limits(limits));
  ASSERT_TRUE(parse_limit("cpu_time_ms=300001", limits));
  const auto checked = check_limits(limits);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().what, "cpu_time_ms = 300001 is out of bounds");
  EXPECT_EQ(checked.error().next, "it may be from 1 to 300000");
  core::LimitOverrides caps;
  for (const char* good : {"io_read_bytes_per_s=0", "io_read_bytes_per_s=4M", "io_read_ops_per_s=100"}) {
    ASSERT_TRUE(parse_limit(good, caps)) << good;
    EXPECT_TRUE(check_limits(caps)) << good;
  }
  ASSERT_TRUE(parse_limit("io_read_ops_per_s=99", caps));
  EXPECT_EQ(check_limits(caps).error().next, "it may be 0 (none), or from 100");
}

TEST(Extension, IsTheLanguage) {
  EXPECT_EQ(extension("a/b.c/main.CPP"), "cpp");
  EXPECT_EQ(extension("main"), "");
  EXPECT_EQ(extension(".bashrc"), "");
  EXPECT_EQ(extension("x.tar.py"), "py");
}

TEST(JoinWait, LeavesFilesAlone) {
  using List = std::vector<std::string>;
  EXPECT_EQ(join_wait({"submit", "--wait", "30", "a.py"}), (List{"submit", "--wait=30", "a.py"}));
  EXPECT_EQ(join_wait({"submit", "--wait", "a.py"}), (List{"submit", "--wait", "a.py"}));
  EXPECT_EQ(join_wait({"submit", "a.py", "--wait"}), (List{"submit", "a.py", "--wait"}));
  EXPECT_EQ(join_wait({"submit", "a.py", "--", "--wait", "3"}), (List{"submit", "a.py", "--", "--wait", "3"}));
  EXPECT_EQ(join_wait({"job", "x", "-w", "5"}), (List{"job", "x", "--wait=5"}));
}

class Files : public testing::Test {
 protected:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bailiff-cli-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~Files() override { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }
  std::filesystem::path path_;
};

TEST_F(Files, TestsAreOrderedAsPeopleCount) {
  for (const char* name : {"10.in", "2.in", "1.in", "2.out", "1.ans", "notes.txt"}) write(name, name);
  const auto tests = read_tests(path_.string());
  ASSERT_TRUE(tests) << tests.error().what;
  ASSERT_EQ(tests->size(), 3U);
  EXPECT_EQ((*tests)[0].name, "1");
  EXPECT_EQ((*tests)[1].name, "2");
  EXPECT_EQ((*tests)[2].name, "10");
  EXPECT_EQ((*tests)[0].stdin_content.bytes, "1.in");
  EXPECT_EQ((*tests)[0].expected->bytes, "1.ans");
  EXPECT_EQ((*tests)[1].expected->bytes, "2.out");
  EXPECT_FALSE((*tests)[2].expected);
}

TEST_F(Files, TestsMustBeThere) {
  EXPECT_EQ(read_tests(path_.string()).error().code, kExitNoInput);
  EXPECT_EQ(read_tests(path_.string() + "/none").error().code, kExitNoInput);
}

TEST_F(Files, ARequestHasWhatWasAskedForAndNothingElse) {
  SubmitOptions options;
  options.file = write("main.CC", "int main(){}");
  auto request = job_request(options);
  ASSERT_TRUE(request) << request.error().what;
  EXPECT_EQ(*request, core::Json::parse(R"({"language": "cc", "source": "int main(){}"})"));

  write("1.in", "1\xff");
  write("1.out", "2\n");
  options.language = "cpp20";
  options.args = {"a", "-b"};
  options.stdin_file = write("input", "in");
  options.tests_directory = path_.string();
  options.checker = "lines";
  options.labels = {"user=42", "k=a=b"};
  options.priority = -3;
  ASSERT_TRUE(parse_limit("memory_bytes=64M", options.limits));
  ASSERT_TRUE(parse_limit("cpu_time_ms=1.5s", options.limits));
  request = job_request(options);
  ASSERT_TRUE(request) << request.error().what;
  EXPECT_EQ(nlohmann::json(*request),
            nlohmann::json::parse(R"({"language": "cpp20", "source": "int main(){}", "args": ["a", "-b"], "stdin": "in", "checker": "lines",
    "tests": [{"name": "1", "stdin": {"base64": "Mf8="}, "expected": "2\n"}], "labels": {"user": "42", "k": "a=b"}, "priority": -3,
    "limits": {"cpu_time_ms": 1500, "memory_bytes": 67108864}})"));
}

TEST_F(Files, ARequestThatCannotBeMadeSaysWhy) {
  SubmitOptions options;
  options.file = (path_ / "none.py").string();
  EXPECT_EQ(job_request(options).error().code, kExitNoInput);
  options.file = write("noextension", "x");
  EXPECT_EQ(job_request(options).error().code, kExitUsage);
  options.language = "py";
  options.labels = {"nokey"};
  EXPECT_THAT(job_request(options).error().what, HasSubstr("--label: \"nokey\""));
}

TEST(VerdictOfRun, BlamesTheCompilerForItsStepOnly) {
  const auto steps = [](std::vector<core::Verdict> verdicts) {
    std::vector<core::StepResult> result(verdicts.size());
    for (std::size_t i = 0; i < verdicts.size(); ++i) result[i].outcome.verdict = verdicts[i];
    return result;
  };
  using core::Verdict;
  EXPECT_EQ(verdict_of_run(steps({Verdict::ok, Verdict::ok}), true), Verdict::ok);
  EXPECT_EQ(verdict_of_run(steps({Verdict::runtime_error}), true), Verdict::compile_error);
  EXPECT_EQ(verdict_of_run(steps({Verdict::time_limit_exceeded}), true), Verdict::compile_error);
  EXPECT_EQ(verdict_of_run(steps({Verdict::cancelled}), true), Verdict::cancelled);
  EXPECT_EQ(verdict_of_run(steps({Verdict::internal_error}), true), Verdict::internal_error);
  EXPECT_EQ(verdict_of_run(steps({Verdict::ok, Verdict::runtime_error}), true), Verdict::runtime_error);
  EXPECT_EQ(verdict_of_run(steps({Verdict::runtime_error}), false), Verdict::runtime_error);
}

TEST(FailureOfAnswer, SaysWhatToDo) {
  const Failure refused =
      failure_of_answer({422, "application/problem+json", "",
                         R"({"title": "Invalid", "detail": "1 fault", "errors": [{"pointer": "/x", "detail": "unknown"}]})"});
  EXPECT_EQ(refused.code, kExitRefused);
  EXPECT_EQ(refused.what, "Invalid: 1 fault");
  EXPECT_EQ(refused.problem["errors"][0]["pointer"], "/x");
  const Failure busy = failure_of_answer({429, "application/problem+json", "7", "{}"});
  EXPECT_EQ(busy.code, kExitTryLater);
  EXPECT_EQ(busy.next, "try again in 7 s");
  EXPECT_EQ(failure_of_answer({404, "", "", ""}).code, kExitNotFound);
  EXPECT_EQ(failure_of_answer({401, "", "", ""}).code, kExitNoPermission);
  EXPECT_EQ(failure_of_answer({500, "text/html", "", "<html>"}).what, "the server answers with status 500");
  EXPECT_TRUE(failure_of_answer({400, "application/problem+json", "", "no json"}).problem.is_null());
}

TEST(HttpClient, RefusesWhatIsNoServer) {
  EXPECT_EQ(HttpClient::make("ftp://x", "").error().code, kExitUsage);
  EXPECT_EQ(HttpClient::make("http://x", "a\r\nb").error().code, kExitUsage);
  auto client = HttpClient::make("http://127.0.0.1:1/", "");
  ASSERT_TRUE(client);
  const auto answer = client->json({.path = "/livez"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, kExitUnavailable);
  EXPECT_THAT(answer.error().what, HasSubstr("no answer from http://127.0.0.1:1: "));
}

TEST(PercentEncode, LeavesOnlyUnreservedCharacters) { EXPECT_EQ(percent_encode("aZ9-._~/? %\xff"), "aZ9-._~%2F%3F%20%25%FF"); }

/// The program's own streams as memory files.
class App : public testing::Test {
 protected:
  int run(std::vector<std::string> arguments) {
    const int code = run_app(std::move(arguments), Console{Stream(out_.get(), false, false), Stream(err_.get(), false, false)});
    text_out_ = read(out_.get());
    text_err_ = read(err_.get());
    return code;
  }
  static std::string read(int fd) {
    ::lseek(fd, 0, SEEK_SET);
    return read_descriptor(fd, "memfd").value();
  }
  core::Fd out_{::memfd_create("out", MFD_CLOEXEC)}, err_{::memfd_create("err", MFD_CLOEXEC)};
  std::string text_out_, text_err_;
};

TEST_F(App, VersionAndHelpGoToStandardOutput) {
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(text_out_, "bailiff " BAILIFF_VERSION "\n");
  EXPECT_EQ(text_err_, "");
}

TEST_F(App, EveryCommandHasHelpAndJson) {
  for (const char* command : {"run", "submit", "job", "jobs", "cancel", "pause", "resume", "languages", "doctor"}) {
    EXPECT_EQ(run({command, "--help"}), 0) << command;
    EXPECT_THAT(text_out_, HasSubstr("--json")) << command;
  }
}

TEST_F(App, UsageFaultsAre64) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{{},
                                                                                         {"nonsense"},
                                                                                         {"run"},
                                                                                         {"run", "a.py", "--nonsense"},
                                                                                         {"submit", "a.py", "--priority", "11"},
                                                                                         {"submit", "a.py", "--checker", "exact"},
                                                                                         {"jobs", "--state", "x"},
                                                                                         {"run", "a.py", "--limit", "x=1"},
                                                                                         {"job", "x", "--server", "nonsense"}}) {
    EXPECT_EQ(run(arguments), kExitUsage) << testing::PrintToString(arguments);
    EXPECT_THAT(text_err_, testing::StartsWith("bailiff: "));
  }
}

TEST_F(App, FailuresAreJsonWhereJsonIsWanted) {
  EXPECT_EQ(run({"job", "x", "--server", "http://127.0.0.1:1", "--json"}), kExitUnavailable);
  const auto document = core::Json::parse(text_out_);
  EXPECT_THAT(document["error"]["message"].get<std::string>(), HasSubstr("no answer from"));
  EXPECT_THAT(document["error"]["next"].get<std::string>(), HasSubstr("script/server"));
}

TEST(Artifacts, AreSavedBelowTheirDirectoryAndOverNothing) {
  std::string directory = std::filesystem::temp_directory_path() / "bailiff-artifacts-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const core::Fd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(make_file_below(root.get(), "a/b/c.txt"));
  EXPECT_TRUE(make_file_below(root.get(), "a/d"));
  EXPECT_TRUE(std::filesystem::is_regular_file(directory + "/a/b/c.txt"));
  std::filesystem::create_symlink("/tmp", directory + "/link");
  std::filesystem::create_symlink("/tmp/nowhere", directory + "/file");
  for (const char* path : {"a/d", "a/d/e", "../x", "/x", "a/../x", "", ".", "link/x", "file", "a//x"})
    EXPECT_FALSE(make_file_below(root.get(), path)) << path;
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace bailiff::cli
