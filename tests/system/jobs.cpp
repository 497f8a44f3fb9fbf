// Jobs through the real port: tests, steps, cancel, outputs while they run, privileges of the process that answers.
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

class JobTest : public SystemTest {
 protected:
  Json adder(const std::string& verdict_of_second) {
    auto job = language(
        "cpp", "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; if (a == 7) return 3; std::cout << a + b << '\\n'; }\n");
    job["tests"] = {{{"name", "first"}, {"stdin", "1 2\n"}, {"expected", "3\n"}, {"points", 2}},
                    {{"name", "second"}, {"stdin", verdict_of_second == "runtime_error" ? "7 1" : "2 2"}, {"expected", "5"}},
                    {{"name", "third"}, {"stdin", "20 22"}, {"expected", "42"}}};
    return job;
  }
};

TEST_F(JobTest, TestsStopAtTheFirstFailure) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto job = run(adder("wrong_answer"));
  EXPECT_EQ(job.at("verdict"), "wrong_answer") << job.dump(2);
  EXPECT_EQ(job.at("score"), 2);
  ASSERT_EQ(job.at("tests").size(), 2u);
  EXPECT_EQ(job.at("tests").at(0).at("verdict"), "accepted");
  EXPECT_EQ(job.at("tests").at(1).at("verdict"), "wrong_answer");
  EXPECT_EQ(job.at("tests").at(1).at("stdout"), "4\n");
  EXPECT_FALSE(job.at("tests").at(1).at("checker_message").is_null());
  EXPECT_EQ(job.at("steps").size(), 1u);
  EXPECT_NE(job.at("message").get<std::string>().find("second"), std::string::npos);
}

TEST_F(JobTest, EveryTestRunsWhereThatIsAskedFor) {
  ASSERT_NO_FATAL_FAILURE(start());
  auto request = adder("runtime_error");
  request["stop_on_failure"] = false;
  const auto job = run(request);
  EXPECT_EQ(job.at("verdict"), "runtime_error") << job.dump(2);
  ASSERT_EQ(job.at("tests").size(), 3u);
  EXPECT_EQ(job.at("tests").at(1).at("exit_code"), 3);
  EXPECT_EQ(job.at("tests").at(2).at("verdict"), "accepted");
  EXPECT_EQ(job.at("score"), 3);
}

TEST_F(JobTest, TestsDoNotSeeOneAnothersFiles) {
  ASSERT_NO_FATAL_FAILURE(start());
  auto request = language("python", "import os\nprint(sorted(os.listdir()))\nopen('trace', 'w').write('x')\n");
  for (int i = 0; i < 6; ++i)
    request["tests"].push_back({{"name", std::to_string(i)}, {"stdin", ""}, {"expected", "['data.txt', 'main.py']"}});
  request["files"] = {{"data.txt", "x"}};
  const auto job = run(request);
  EXPECT_EQ(job.at("verdict"), "accepted") << job.dump(2);
}

TEST_F(JobTest, StepsShareAWorkspaceAndTheLastAlwaysRuns) {
  ASSERT_NO_FATAL_FAILURE(start());
  const Json request = {{"image", "host"},
                        {"env", {{"WHO", "job"}}},
                        {"files", {{"dir/in.txt", "from the request"}}},
                        {"steps",
                         {{{"name", "write"}, {"command", "cat in.txt > out.txt; echo $WHO"}, {"cwd", "dir"}, {"env", {{"WHO", "step"}}}},
                          {{"name", "fail"}, {"command", {"sh", "-c", "cat dir/out.txt; exit 5"}}},
                          {{"name", "never"}, {"command", {"true"}}},
                          {{"name", "clean"}, {"command", {"cat", "dir/out.txt"}}, {"always", true}}}}};
  const auto job = run(request);
  EXPECT_EQ(job.at("verdict"), "runtime_error") << job.dump(2);
  ASSERT_EQ(job.at("steps").size(), 3u);
  EXPECT_EQ(job.at("steps").at(0).at("stdout"), "step\n");
  EXPECT_EQ(job.at("steps").at(1).at("stdout"), "from the request");
  EXPECT_EQ(job.at("steps").at(1).at("exit_code"), 5);
  EXPECT_EQ(job.at("steps").at(2).at("name"), "clean");
  EXPECT_EQ(job.at("steps").at(2).at("stdout"), "from the request");
}

TEST_F(JobTest, CancelOfARunningAndOfAQueuedJob) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  const auto running = submit(command({"sleep", "60"}, {{"wall_time_ms", 100'000}}));
  const auto queued = submit(command({"true"}));
  ASSERT_TRUE(eventually([&]() { return state_of(running) == "running"; }));
  EXPECT_EQ(http().post("/v1/jobs/" + queued + ":cancel", nullptr).status, 200);
  EXPECT_EQ(wait(queued).at("verdict"), "cancelled");
  const auto begin = std::chrono::steady_clock::now();
  for (int times = 0; times < 2; ++times) EXPECT_EQ(http().post("/v1/jobs/" + running + ":cancel", nullptr).status / 100, 2);
  EXPECT_EQ(wait(running).at("verdict"), "cancelled");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(run(command({"true"})).at("verdict"), "ok") << "the slot is free again";
}

TEST_F(JobTest, APausedJobStandsStillAndItsTimeWithIt) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto id = submit(command({"sh", "-c", "while echo x; do sleep 0.02; done"}, {{"wall_time_ms", 2500}}));
  const auto path = "/v1/jobs/" + id;
  const auto written = [&]() {
    const auto answer = http().get(path + "/steps/0/stdout");
    return answer.status == 200 ? answer.body.size() : 0;
  };
  const auto act = [&](const char* action) { return http().post(path + action, nullptr).json(); };
  const auto pause_for = [](int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); };
  ASSERT_TRUE(eventually([&]() { return written() > 0; }));
  EXPECT_EQ(act(":pause").at("paused"), true);
  ASSERT_TRUE(eventually([&]() {
    const auto before = written();
    pause_for(200);
    return written() == before;
  }));
  const auto before = written();
  pause_for(3000);  // longer than its wall time
  EXPECT_EQ(written(), before);
  EXPECT_EQ(http().get(path).json().at("paused"), true);
  EXPECT_EQ(act(":resume").at("paused"), false);
  EXPECT_TRUE(eventually([&]() { return written() > before; }));
  const auto job = wait(id);
  EXPECT_EQ(job.at("verdict"), "wall_time_limit_exceeded") << job.dump(2);
  EXPECT_EQ(job.at("paused"), false);
  EXPECT_GE(job.at("steps").at(0).at("evidence").at("paused_ms"), 3000);
  EXPECT_GE(job.at("steps").at(0).at("wall_time_ms"), 2500);
  EXPECT_EQ(http().post(path + ":pause", nullptr).status, 409);
}

TEST_F(JobTest, OutputsCanBeReadWithRangesWhileTheProgramRuns) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto id = submit(command({"sh", "-c", "printf 0123456789; printf abc >&2; sleep 60"}, {{"wall_time_ms", 100'000}}));
  const auto path = "/v1/jobs/" + id + "/steps/0/";
  ASSERT_TRUE(eventually([&]() { return http().get(path + "stderr").body == "abc"; }));
  EXPECT_EQ(state_of(id), "running");
  const auto part = http().get(path + "stdout", {"Range: bytes=2-5"});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "2345");
  EXPECT_EQ(part.headers.at("content-range").substr(0, 9), "bytes 2-5");
  EXPECT_EQ(http().get(path + "stdout", {"Range: bytes=10-"}).status, 416);
  EXPECT_EQ(http().post("/v1/jobs/" + id + ":cancel", nullptr).status / 100, 2);
  const auto job = wait(id);
  EXPECT_EQ(job.at("steps").at(0).at("stdout"), "0123456789") << "what a cancelled step wrote is kept";
  EXPECT_EQ(http().get(path + "stdout", {"Range: bytes=-3"}).body, "789");
}

TEST_F(JobTest, TheProcessThatAnswersHasNoPrivileges) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::ifstream file("/proc/" + std::to_string(server_->pid()) + "/status");
  std::map<std::string, std::string> status;
  for (std::string line; std::getline(file, line);) status[line.substr(0, line.find(':'))] = line.substr(line.find(':') + 1);
  for (const auto* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) EXPECT_EQ(status[set], "\t0000000000000000") << set;
  EXPECT_EQ(status["NoNewPrivs"], "\t1");
  for (const auto* ids : {"Uid", "Gid"}) {
    std::istringstream words(status[ids]);
    for (int id = 0; words >> id;) EXPECT_NE(id, 0) << ids;
  }
  EXPECT_EQ(status["Groups"].find_first_not_of(" \t"), std::string::npos);
}

TEST_F(JobTest, WhatAProgramPrintsForgesNoLogLine) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--log-level", "debug"}));
  const auto job = run(command({"sh", "-c", "printf '\\nlevel=error event=\"forged\"\\033[2J' | tee /dev/stderr; exit 1"}));
  EXPECT_EQ(job.at("verdict"), "runtime_error");
  EXPECT_EQ(log_text().find("forged"), std::string::npos);
  EXPECT_EQ(log_text().find('\033'), std::string::npos);
}

}  // namespace
}  // namespace bailiff::system_tests
