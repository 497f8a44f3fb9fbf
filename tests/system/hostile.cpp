// Hostile jobs through the real port: sources that attack their compiler, outputs that pretend to be something else, clients that leave.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

class HostileTest : public SystemTest {};

TEST_F(HostileTest, SourcesThatAttackTheirCompilerHaveAVerdict) {
  struct Row {
    const char* what;
    std::string source;
    std::set<std::string> verdicts;
  };
  const std::string twice = "#include \"main.cpp\"\n#include \"main.cpp\"\n";
  const Row rows[] = {
      {"includes itself for ever", twice, {"time_limit_exceeded", "memory_limit_exceeded", "output_limit_exceeded"}},
      {"reads a device of zeros", "#include \"/dev/zero\"\n", {"time_limit_exceeded", "memory_limit_exceeded"}},
      {"reads a random device", "#include \"/dev/random\"\n", {"time_limit_exceeded", "memory_limit_exceeded", "output_limit_exceeded"}},
      {"endless error log", "#warning noise\n" + twice, {"output_limit_exceeded"}},
      {"endless templates",
       "template <int N> struct A { A<N + 1> a; A<N + 2> b; };\nA<0> a;\nint main() {}\n",
       {"runtime_error", "time_limit_exceeded", "memory_limit_exceeded", "output_limit_exceeded"}},
      {"endless macros",
       "#define A B B B B B B B B\n#define B C C C C C C C C\n#define C D D D D D D D D\n#define D E E E E E E E E\n#define E F F F F F F "
       "F F\n"
       "#define F G G G G G G G G\n#define G H H H H H H H H\n#define H I I I I I I I I\nA\n",
       {"time_limit_exceeded", "memory_limit_exceeded", "output_limit_exceeded"}},
      {"array larger than any file", "int array[1 << 28] = {1};\nint main() {}\n", {"runtime_error", "memory_limit_exceeded"}},
      {"reads the host's files", "#include \"/etc/shadow\"\n#include \"/proc/1/environ\"\nint main() {}\n", {"runtime_error"}},
  };
  ASSERT_NO_FATAL_FAILURE(start());
  if (!has_language("cpp")) GTEST_SKIP() << "missing host capability: language cpp";
  for (const auto& [what, source, verdicts] : rows) {
    auto request = command({"g++", "-O0", "-fmax-errors=0", "main.cpp", "-o", "main"},
                           {{"cpu_time_ms", 1500}, {"memory_bytes", 256 * kMiB}, {"output_bytes", 200'000}, {"file_bytes", 64 * kMiB}});
    request["files"] = {{"main.cpp", source}};
    const auto job = run(request);
    EXPECT_EQ(verdicts.count(job.at("verdict").get<std::string>()), 1U) << what << job.dump(2).substr(0, 2000);
    EXPECT_EQ(job.at("attempt"), 1) << what;
  }
  EXPECT_EQ(run(command({"true"})).at("verdict"), "ok");
}

TEST_F(HostileTest, OutputIsABodyAndNothingElse) {
  const std::string forged = "\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: forged=1\r\nContent-Length: 0\r\n\r\ndata: "
                             "{\"verdict\":\"ok\"}\n\nevent: end\n\"},{\"verdict\":\"ok\"";
  ASSERT_NO_FATAL_FAILURE(start());
  auto request = command({"cat", "forged"});
  request["files"] = {{"forged", forged}};
  const auto id = submit(request);
  const auto job = wait(id);
  EXPECT_EQ(job.at("steps").at(0).at("stdout"), forged);
  EXPECT_EQ(job.at("steps").size(), 1U);
  const auto answer = http().get("/v1/jobs/" + id + "/steps/0/stdout");
  EXPECT_EQ(answer.body, forged);
  EXPECT_EQ(answer.headers.count("set-cookie"), 0U);
  EXPECT_EQ(answer.headers.at("content-length"), std::to_string(forged.size()));
  EXPECT_EQ(answer.headers.count("content-type"), 1U);
  EXPECT_EQ(answer.headers.at("content-type").find("html"), std::string::npos);
}

TEST_F(HostileTest, NamesOfFilesAreRefusedOrNames) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (const std::string& name : std::vector<std::string>{"../x", "/etc/x", "a/../../x", "", ".", "..", "a//b", "a/"}) {
    auto request = command({"true"});
    request["files"] = {{name, "x"}};
    EXPECT_EQ(http().post("/v1/jobs", request).status, 422) << name;
  }
  auto nul = command({"true"});
  nul["files"] = {{std::string("a\0b", 3), "x"}};
  EXPECT_EQ(http().post("/v1/jobs", nul).status, 422);
  auto odd = command({"sh", "-c", "ls -1 | wc -l"});
  odd["files"] = {{"a\nb", "x"}, {"-rf", "x"}, {"\x1b[2J", "x"}, {std::string(255, 'n'), "x"}};
  EXPECT_EQ(run(odd).at("steps").at(0).at("stdout"), "5\n");  // a newline is a line
}

/// Asks to wait for a job and hangs up without reading a byte.
void ask_and_leave(const std::string& url, const Json& job) {
  const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string body = job.dump();
  const std::string request =
      "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: wait=60\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  close(fd);
}

/// What a program writes goes into memory files, so nobody has to read it; and who asked may leave.
TEST_F(HostileTest, AClientThatLeavesHoldsNoSlot) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  ask_and_leave(server_->url(), command({"sh", "-c", "exec yes"}, {{"output_bytes", 50'000}}));
  ask_and_leave(server_->url(), command({"sleep", "60"}, {{"wall_time_ms", 300}}));
  ASSERT_TRUE(eventually([&] { return http().get("/v1/jobs").json().at("items").size() == 2; }));
  EXPECT_EQ(run(command({"true"})).at("verdict"), "ok");
  std::set<std::string> verdicts;
  const auto jobs = http().get("/v1/jobs").json();
  for (const auto& job : jobs.at("items")) verdicts.insert(job.at("verdict").get<std::string>());
  EXPECT_EQ(verdicts, (std::set<std::string>{"output_limit_exceeded", "wall_time_limit_exceeded", "ok"}));
}

}  // namespace
}  // namespace bailiff::system_tests
