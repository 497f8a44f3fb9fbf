// Real programs through the real port, each beside an innocent neighbour that must not notice.
#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

struct Program {
  std::string name;
  std::string language;
  std::string source;
  Json limits;
  std::string verdict;
  std::function<void(const Json& step, const Json& job)> check;  // of the last step
};

void PrintTo(const Program& program, std::ostream* out) { *out << program.name; }

Program sort_program() {
  return {"CppSort",
          "cpp",
          "#include <algorithm>\n#include <cstdio>\n#include <vector>\n"
          "int main() { std::vector<unsigned> v(1000000); unsigned x = 1; for (auto& e : v) e = x = x * 1664525u + 1013904223u;\n"
          "  std::sort(v.begin(), v.end()); std::printf(\"%d %zu\\n\", std::is_sorted(v.begin(), v.end()), v.size()); }\n",
          Json::object(),
          "ok",
          [](const Json& step, const Json&) {
            EXPECT_EQ(step.at("stdout"), "1 1000000\n");
            EXPECT_GT(step.at("cpu_time_ms"), 5.0);
            EXPECT_LT(step.at("cpu_time_ms"), 5000.0);
            EXPECT_GT(step.at("memory_peak_bytes"), 3'400'000);
            EXPECT_LT(step.at("memory_peak_bytes"), 64 * kMiB);
          }};
}

std::vector<Program> ordinary_programs() {
  return {
      sort_program(),
      {"Python", "python", "import sys\nprint(sum(range(10**6)))\nprint('err', file=sys.stderr)\n", Json::object(), "ok",
       [](const Json& step, const Json&) {
         EXPECT_EQ(step.at("stdout"), "499999500000\n");
         EXPECT_EQ(step.at("stderr"), "err\n");
         EXPECT_GT(step.at("memory_peak_bytes"), kMiB);
       }},
      {"Java", "java", "public class Main { public static void main(String[] a) { System.out.println(\"hello from java\"); } }\n",
       Json::object(), "ok",
       [](const Json& step, const Json& job) {
         EXPECT_EQ(step.at("stdout"), "hello from java\n");
         EXPECT_GT(step.at("processes_peak"), 1) << "a JVM has threads";
         EXPECT_EQ(job.at("steps").at(0).at("name"), "compile");
       }},
      {"CompileError", "cpp", "int main() { return missing; }\n", Json::object(), "compile_error",
       [](const Json& step, const Json& job) {
         EXPECT_EQ(job.at("steps").size(), 1u);
         EXPECT_EQ(step.at("verdict"), "runtime_error");
         EXPECT_NE(step.at("stderr").get<std::string>().find("missing"), std::string::npos);
         EXPECT_FALSE(job.at("message").is_null());
       }},
      {"ExitCode42", "cpp", "int main() { return 42; }\n", Json::object(), "runtime_error",
       [](const Json& step, const Json& job) {
         EXPECT_EQ(step.at("exit_code"), 42);
         EXPECT_TRUE(step.at("signal").is_null());
         EXPECT_NE(job.at("message").get<std::string>().find("42"), std::string::npos);
       }},
      {"Segfault", "cpp", "int main() { volatile int* p = nullptr; *p = 1; }\n", Json::object(), "runtime_error",
       [](const Json& step, const Json&) {
         EXPECT_EQ(step.at("signal"), 11);
         EXPECT_TRUE(step.at("exit_code").is_null());
       }},
  };
}

std::vector<Program> greedy_programs() {
  return {
      {"InfiniteLoop",
       "cpp",
       "int main() { for (volatile int i = 0;;) i = i + 1; }\n",
       {{"cpu_time_ms", 500}},
       "time_limit_exceeded",
       [](const Json& step, const Json&) {
         EXPECT_GE(step.at("cpu_time_ms"), 500.0);
         EXPECT_LT(step.at("cpu_time_ms"), 1000.0);
       }},
      {"Sleeper",
       "cpp",
       "#include <unistd.h>\nint main() { for (;;) pause(); }\n",
       {{"wall_time_ms", 500}},
       "wall_time_limit_exceeded",
       [](const Json& step, const Json&) {
         EXPECT_GE(step.at("wall_time_ms"), 500.0);
         EXPECT_LT(step.at("wall_time_ms"), 10'000.0);
         EXPECT_LT(step.at("cpu_time_ms"), 250.0);
       }},
      {"MemoryHog",
       "cpp",
       "#include <cstdlib>\n"
       "int main() { volatile char* p = (char*)malloc(1u << 30); for (unsigned i = 0; i < 1u << 30; i += 4096) p[i] = 1; return p[12288] "
       "!= 1; }\n",
       {{"memory_bytes", 64 * kMiB}},
       "memory_limit_exceeded",
       [](const Json& step, const Json&) {
         EXPECT_GT(step.at("memory_peak_bytes"), 60 * kMiB);
         EXPECT_LE(step.at("memory_peak_bytes"), 64 * kMiB);
         EXPECT_GE(step.at("evidence").at("oom_kill"), 1);
       }},
      {"ForkBomb",
       "cpp",
       "#include <unistd.h>\nint main() { for (;;) fork(); }\n",
       {{"processes", 32}, {"cpu_time_ms", 1000}, {"wall_time_ms", 10'000}},
       "time_limit_exceeded",
       [](const Json& step, const Json&) {
         EXPECT_GT(step.at("evidence").at("pids_max_hits"), 0);
         EXPECT_LE(step.at("processes_peak"), 32);
         EXPECT_GE(step.at("processes_peak"), 16);
       }},
      {"OutputFlood",
       "cpp",
       "#include <unistd.h>\nint main() { static char b[65536]; for (char& c : b) c = 'x'; for (;;) write(1, b, sizeof b); }\n",
       {{"output_bytes", 100'000}},
       "output_limit_exceeded",
       [](const Json& step, const Json&) {
         EXPECT_EQ(step.at("stdout"), std::string(100'000, 'x'));
         EXPECT_EQ(step.at("stdout_truncated"), true);
         EXPECT_EQ(step.at("stderr_truncated"), false);
       }},
  };
}

std::vector<Program> all_programs() {
  auto all = ordinary_programs();
  for (auto& program : greedy_programs()) all.push_back(std::move(program));
  return all;
}

class ProgramTest : public SystemTest, public ::testing::WithParamInterface<Program> {};

TEST_P(ProgramTest, HasTheRightVerdictAndHarmsNobody) {
  const auto& program = GetParam();
  ASSERT_NO_FATAL_FAILURE(start());
  if (!has_language(program.language)) GTEST_SKIP() << "missing host capability: language " << program.language;
  // About a second of small allocations, files, processes and arithmetic.
  const auto neighbour =
      submit(language("python",
                      "import os, subprocess\ntotal = 0\nfor i in range(20):\n  open('f%d' % i, 'w').write('x' * 100000)\n"
                      "  total += sum(j * j % 7 for j in range(60000))\n"
                      "  total += int(subprocess.check_output(['sh', '-c', 'echo %d' % i]))\nprint(total, len(os.listdir()))\n",
                      {{"memory_bytes", 64 * kMiB}}));
  ASSERT_TRUE(eventually([&]() { return state_of(neighbour) != "queued"; }));
  const auto job = run(language(program.language, program.source, program.limits));
  EXPECT_EQ(job.at("verdict"), program.verdict) << job.dump(2);
  ASSERT_FALSE(job.at("steps").empty()) << job.dump(2);
  program.check(job.at("steps").back(), job);

  const auto innocent = wait(neighbour);
  EXPECT_EQ(innocent.at("verdict"), "ok") << innocent.dump(2);
  EXPECT_EQ(innocent.at("steps").at(0).at("stdout"), "2400170 21\n");
  EXPECT_EQ(innocent.at("attempt"), 1);
}

INSTANTIATE_TEST_SUITE_P(Real, ProgramTest, ::testing::ValuesIn(all_programs()), [](const auto& program) { return program.param.name; });

}  // namespace
}  // namespace bailiff::system_tests
