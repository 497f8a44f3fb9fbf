// The runner and the slot pool over fake slots: which steps run where, with what, and what comes of them.
#include "server/runner.h"

#include "server_runner_fakes.h"

namespace bailiff::server {
namespace {

using core::Verdict;
using testing::FakeSlots;
using testing::Report;
using testing::report_of;
using Behaviour = FakeSlots::Behaviour;

constexpr std::size_t kMemory = 2;  // index in kLimitFields

class RunnerTest : public ::testing::Test {
 protected:
  void begin(unsigned slots, Behaviour behaviour) {
    slots_.emplace(std::move(behaviour));
    pool_.emplace(io_, *slots_, slots);
    pool_->start([this](const core::Error&) { source_lost_ = true; });
    for (unsigned i = 0; i < slots; ++i) slots_->announce(i);
    testing::run_until(io_, [&]() { return pool_->alive() == slots; });
    runner_.emplace(*pool_, catalogue_, levels_, threads_, metrics_);
  }
  /// Spawned; its answer arrives in result_.
  void spawn(const core::JobSpec& spec) {
    result_.reset();
    boost::asio::co_spawn(
        io_,
        [this, &spec]() -> boost::asio::awaitable<void> {
          auto lease = co_await pool_->acquire(SlotLine::new_job);
          result_ = co_await runner_->run(job_, spec, std::move(*lease));
        },
        boost::asio::detached);
  }
  core::Result<core::JobResult> run(const core::JobSpec& spec) {
    spawn(spec);
    testing::run_until(io_, [&]() { return result_.has_value(); });
    return std::move(*result_);
  }
  void TearDown() override {
    pool_->stop();
    testing::run_until(io_, [&]() { return io_.poll() == 0; });
  }

  static core::JobSpec language(const std::string& name) {
    core::JobSpec spec;
    spec.language = name;
    spec.source = core::Content{"the source", {}};
    return spec;
  }
  static core::JobSpec with_tests(const std::string& name, int count) {
    auto spec = language(name);
    for (int i = 0; i < count; ++i)
      spec.tests.push_back({std::to_string(i), {std::to_string(i), {}}, core::Content{"out" + std::to_string(i), {}}, {}, 1});
    return spec;
  }

  boost::asio::io_context io_{1};
  boost::asio::thread_pool threads_{1};
  images::Catalogue catalogue_ = testing::small_catalogue();
  LimitLevels levels_;
  std::optional<FakeSlots> slots_;
  std::optional<SlotPool> pool_;
  Metrics metrics_;
  std::optional<Runner> runner_;
  ActiveJob job_{"job-1", "", 1, io_.get_executor()};
  std::optional<core::Result<core::JobResult>> result_;
  bool source_lost_ = false;
};

Report snapshot(const sandbox::StepRequest& request) {
  auto report = report_of(Verdict::ok);
  if (!request.collect.empty()) report.collected = std::move(*sandbox::TreeWriter().finish());
  return report;
}

/// Echoes "out" + stdin, as the tests of with_tests() expect.
std::optional<Report> echo(const sandbox::StepRequest& request, unsigned) {
  if (!request.collect.empty()) return snapshot(request);
  testing::print(request, "out" + testing::stdin_of(request));
  return report_of(Verdict::ok);
}

TEST_F(RunnerTest, CompileThenRunInOneSlotAndOneWorkspace) {
  begin(2, echo);
  auto spec = language("comp");
  spec.args = {"a", "b"};
  spec.stdin_content.bytes = "hi";
  const auto result = run(spec);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->verdict, Verdict::ok);
  EXPECT_EQ(result->message, "");
  ASSERT_EQ(result->steps.size(), 2u);
  EXPECT_EQ(result->steps[0].name, "compile");
  EXPECT_EQ(result->steps[1].name, "run");
  EXPECT_EQ(result->steps[1].stdout_bytes, "outhi");
  const auto& seen = slots_->seen;
  EXPECT_EQ(seen[0].slot, seen[1].slot);
  EXPECT_EQ(seen[0].trees, 1u);
  EXPECT_TRUE(seen[0].keep && !seen[0].keep_previous && !seen[0].collect);
  EXPECT_TRUE(seen[1].keep_previous && !seen[1].keep);
  EXPECT_GE(slots_->dropped_workspaces, 1u);
  EXPECT_EQ(seen[1].trees, 0u);
  EXPECT_EQ(seen[1].argv, (std::vector<std::string>{"./main", "a", "b"}));
}

TEST_F(RunnerTest, LimitsOfTheJobAreNotTheCompilers) {
  levels_.compile.memory_bytes = 900 * core::kMiB;
  begin(1, echo);
  auto spec = language("comp");
  spec.limits.values[kMemory] = 64 * core::kMiB;
  ASSERT_TRUE(run(spec));
  EXPECT_EQ(slots_->seen[0].limits.memory_bytes, 900 * core::kMiB);
  EXPECT_EQ(slots_->seen[1].limits.memory_bytes, 64 * core::kMiB);
}

TEST_F(RunnerTest, LimitsComeFromServerThenLanguageThenJobThenTestUnderTheCeiling) {
  levels_.ceiling.memory_bytes = 100 * core::kMiB;
  begin(1, echo);
  auto spec = with_tests("int", 2);
  spec.limits.values[kMemory] = 64 * core::kMiB;
  spec.tests[1].limits.values[kMemory] = 200 * core::kMiB;
  ASSERT_TRUE(run(spec));
  EXPECT_EQ(slots_->seen[0].limits.open_files, 77u);
  EXPECT_EQ(slots_->seen[0].limits.memory_bytes, 64 * core::kMiB);
  EXPECT_EQ(slots_->seen[1].limits.memory_bytes, 100 * core::kMiB);
}

TEST_F(RunnerTest, FailedCompileIsCompileErrorAndNothingElseRuns) {
  begin(1, [](const auto&, unsigned) { return report_of(Verdict::runtime_error, 1); });
  const auto result = run(with_tests("comp", 3));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::compile_error);
  EXPECT_EQ(result->message, "step \"compile\": exited with code 1");
  EXPECT_EQ(result->score, 0.0);
  EXPECT_TRUE(result->tests.empty());
  EXPECT_EQ(slots_->seen.size(), 1u);
}

TEST_F(RunnerTest, AfterAFailedStepOnlyAlwaysStepsRun) {
  begin(1, [](const sandbox::StepRequest& request, unsigned) {
    return report_of(request.argv[0] == "bad" ? Verdict::runtime_error : Verdict::ok, 3);
  });
  core::JobSpec spec;
  spec.image = "host";
  for (const char* command : {"good", "bad", "skipped", "clean"}) {
    spec.steps.push_back({});
    spec.steps.back().name = command;
    spec.steps.back().command = {command};
  }
  spec.steps.back().always = true;
  const auto result = run(spec);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::runtime_error);
  EXPECT_EQ(result->message, "step \"bad\": exited with code 3");
  ASSERT_EQ(result->steps.size(), 3u);
  EXPECT_EQ(result->steps[2].name, "clean");
  EXPECT_TRUE(slots_->seen[2].keep_previous);
  EXPECT_EQ(job_.step_outputs.size(), 3u);
}

TEST_F(RunnerTest, TestsCompileOnceAndStartFromTheSnapshotInFreshWorkspaces) {
  begin(3, echo);
  auto spec = with_tests("comp", 20);
  const auto result = run(spec);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::accepted);
  EXPECT_EQ(result->score, 20.0);
  ASSERT_EQ(result->tests.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(result->tests[i].name, std::to_string(i));
  ASSERT_EQ(slots_->seen.size(), 21u);
  std::set<unsigned> used;
  for (std::size_t i = 1; i < slots_->seen.size(); ++i) {
    EXPECT_FALSE(slots_->seen[i].keep_previous || slots_->seen[i].keep);
    EXPECT_EQ(slots_->seen[i].trees, 1u);
    used.insert(slots_->seen[i].slot);
  }
  EXPECT_EQ(used.size(), 3u);
}

TEST_F(RunnerTest, StopOnFailureGivesTheSameResultInWhateverOrderTestsEnd) {
  // Test 3 fails at once while 1 and 2 still run; then 1 fails, and 2 (which is behind it) is cancelled and left out.
  begin(4, [](const sandbox::StepRequest& request, unsigned slot) -> std::optional<Report> {
    const auto input = testing::stdin_of(request);
    if (input == "1" || input == "2") return std::nullopt;
    if (input == "3") return report_of(Verdict::runtime_error, 9);
    return echo(request, slot);
  });
  const auto spec = with_tests("int", 8);
  spawn(spec);
  testing::run_until(io_, [&]() { return slots_->seen.size() >= 4 && job_.running.size() == 2; });
  for (const auto& seen : slots_->seen)
    if (seen.stdin_bytes == "1") slots_->live.at(seen.slot)->end(report_of(Verdict::ok));  // prints nothing: a wrong answer
  testing::run_until(io_, [&]() { return result_.has_value(); });
  const auto& result = *result_;
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::wrong_answer);
  ASSERT_EQ(result->tests.size(), 2u);
  EXPECT_EQ(result->tests[0].outcome.verdict, Verdict::accepted);
  EXPECT_EQ(result->tests[1].outcome.verdict, Verdict::wrong_answer);
  EXPECT_EQ(result->score, 1.0);
  EXPECT_EQ(result->message.find("test \"1\" (2 of 8): wrong answer: token 1"), 0u) << result->message;
  EXPECT_LT(slots_->seen.size(), 8u) << "tests behind a known failure are not started";
}

TEST_F(RunnerTest, WithoutStopOnFailureEveryTestRuns) {
  begin(2, [](const sandbox::StepRequest& request, unsigned slot) -> std::optional<Report> {
    if (testing::stdin_of(request) == "1") return report_of(Verdict::time_limit_exceeded);
    return echo(request, slot);
  });
  auto spec = with_tests("int", 6);
  spec.stop_on_failure = false;
  const auto result = run(spec);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::time_limit_exceeded);
  EXPECT_EQ(result->tests.size(), 6u);
  EXPECT_EQ(result->score, 5.0);
}

TEST_F(RunnerTest, ALongTestOutputIsJudgedWholeAndKeptInPart) {
  const std::string big(3 * kKeptTestOutputBytes, 'x');
  begin(1, [&](const sandbox::StepRequest& request, unsigned) {
    testing::print(request, big);
    return report_of(Verdict::ok);
  });
  auto spec = language("int");
  spec.tests.push_back({"long", {}, core::Content{big, {}}, {}, 2});
  spec.tests.push_back({"longer", {}, core::Content{big + "y", {}}, {}, 2});
  const auto result = run(spec);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->tests.size(), 2u);
  EXPECT_EQ(result->tests[0].outcome.verdict, Verdict::accepted);
  EXPECT_TRUE(result->tests[0].outcome.stdout_truncated);
  EXPECT_EQ(result->tests[0].stdout_bytes.size(), kKeptTestOutputBytes);
  EXPECT_EQ(result->tests[1].outcome.verdict, Verdict::wrong_answer);
  EXPECT_EQ(result->score, 2.0);
}

TEST_F(RunnerTest, CancelEndsTheRunningStepAndTheJob) {
  begin(1, [](const auto&, unsigned) { return std::nullopt; });
  const auto spec = language("comp");
  spawn(spec);
  testing::run_until(io_, [&]() { return !job_.running.empty(); });
  job_.cancelled = true;
  job_.stop_running();
  testing::run_until(io_, [&]() { return result_.has_value(); });
  ASSERT_TRUE(*result_);
  EXPECT_EQ((*result_)->verdict, Verdict::cancelled);
  EXPECT_EQ(slots_->seen.size(), 1u);
  EXPECT_EQ(pool_->alive(), 1u);
}

TEST_F(RunnerTest, ADeadSlotIsAnErrorAndItsReplacementIsUsed) {
  bool dies = true;
  begin(1, [&](const sandbox::StepRequest& request, unsigned slot) -> std::optional<Report> {
    if (dies) return testing::dead_slot();
    return echo(request, slot);
  });
  const auto spec = language("int");
  const auto result = run(spec);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, core::ErrorKind::unavailable);
  EXPECT_EQ(pool_->alive(), 0u);
  dies = false;
  slots_->announce(0);
  const auto again = run(spec);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->verdict, Verdict::ok);
}

TEST_F(RunnerTest, OneTestsDeadSlotFailsTheAttemptAndStopsTheOthers) {
  begin(2, [&](const sandbox::StepRequest& request, unsigned) -> std::optional<Report> {
    if (testing::stdin_of(request) == "1") return testing::dead_slot();
    return std::nullopt;
  });
  const auto result = run(with_tests("int", 5));
  EXPECT_FALSE(result);
  EXPECT_TRUE(job_.running.empty());
}

TEST_F(RunnerTest, ASlotThatEndsWhileIdleIsForgotten) {
  begin(2, echo);
  slots_->live.at(1)->die();
  testing::run_until(io_, [&]() { return pool_->alive() == 1; });
  EXPECT_FALSE(pool_->slots()[1].alive);
  ASSERT_TRUE(run(language("int")));
}

TEST_F(RunnerTest, TheEndOfTheLauncherIsTold) {
  begin(1, echo);
  slots_->die();
  testing::run_until(io_, [&]() { return source_lost_; });
}

TEST_F(RunnerTest, RunningJobsAreServedBeforeNewOnes) {
  begin(1, echo);
  auto held = testing::wait_for(io_, pool_->acquire(SlotLine::new_job));
  ASSERT_TRUE(held);
  std::vector<std::string> order;
  const auto queue_up = [&](SlotLine line, const std::string& name) {
    boost::asio::co_spawn(
        io_,
        [](SlotPool& pool, SlotLine in, std::string who, std::vector<std::string>& out) -> boost::asio::awaitable<void> {
          const auto lease = co_await pool.acquire(in);
          out.push_back(lease ? who : "nothing for " + who);
        }(*pool_, line, name, order),
        boost::asio::detached);
  };
  queue_up(SlotLine::new_job, "new");
  queue_up(SlotLine::running_job, "running");
  const auto withdrawn = pool_->request(SlotLine::running_job);
  pool_->withdraw(withdrawn);
  while (io_.poll() > 0) {}
  EXPECT_TRUE(order.empty());
  held.reset();
  testing::run_until(io_, [&]() { return order.size() == 2; });
  EXPECT_EQ(order, (std::vector<std::string>{"running", "new"}));
}

TEST_F(RunnerTest, AnUnknownImageOrABlobIsRefusedInWords) {
  begin(1, echo);
  core::JobSpec spec;
  spec.image = "windows";
  spec.steps.push_back({});
  spec.steps.back().command = {"true"};
  const auto result = run(spec);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::internal_error);
  EXPECT_EQ(result->message, "the image windows is not offered here any more");
  EXPECT_TRUE(slots_->seen.empty());
}

TEST(StepPlan, DescribesEveryWayToFail) {
  const auto limits = core::default_limits();
  core::Outcome outcome;
  outcome.verdict = Verdict::runtime_error;
  outcome.signal = 11;
  EXPECT_EQ(describe(outcome, limits), "killed by signal 11 (SIGSEGV: Segmentation fault)");
  outcome.signal.reset();
  outcome.exit_code = 42;
  EXPECT_EQ(describe(outcome, limits), "exited with code 42");
  outcome.verdict = Verdict::time_limit_exceeded;
  EXPECT_EQ(describe(outcome, limits), "used more than 10000 ms of CPU time");
  outcome.verdict = Verdict::ok;
  EXPECT_EQ(describe(outcome, limits), "");
  outcome.verdict = Verdict::memory_limit_exceeded;
  outcome.message = "said by the sandbox";
  EXPECT_EQ(describe(outcome, limits), "said by the sandbox");
}

TEST(StepPlan, EnvironmentLayersCoverOneAnother) {
  const core::Environment language = {{"LANG", "de"}, {"A", "1"}}, job = {{"A", "2"}};
  const auto env = environment_of({&language, &job});
  EXPECT_EQ(env,
            (std::vector<std::string>{"A=2", "HOME=/tmp", "LANG=de", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}));
}

Report leaving(Verdict verdict, const std::vector<std::pair<std::string, std::string>>& files) {
  auto report = report_of(verdict, 1);
  sandbox::TreeWriter tree;
  EXPECT_TRUE(tree.add({sandbox::EntryKind::directory, 0755, "out", ""}));
  for (const auto& [path, bytes] : files) EXPECT_TRUE(tree.add_file(path, bytes));
  report.collected = std::move(*tree.finish());
  return report;
}

TEST_F(RunnerTest, ArtifactsAreThoseOfTheLastStepThatRan) {
  int step = 0;
  begin(1, [&](const sandbox::StepRequest& request, unsigned) -> std::optional<Report> {
    EXPECT_EQ(request.collect, (std::vector<std::string>{"out/**"}));
    ++step;
    if (step == 1) return leaving(Verdict::ok, {{"out/a", "1"}});
    return leaving(Verdict::time_limit_exceeded, {{"out/a", "2"}, {"out/b\xff", "x"}, {"out/c", std::string(1000, 'c')}});
  });
  core::JobSpec spec;
  spec.image = "host";
  spec.steps = {{"one", {"a"}, {}, "", {}, {}, false}, {"two", {"b"}, {}, "", {}, {}, false}, {"never", {"c"}, {}, "", {}, {}, false}};
  spec.artifacts = {"out/**"};
  const auto result = run(spec);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->verdict, Verdict::time_limit_exceeded);
  ASSERT_EQ(result->artifacts.size(), 2U);
  EXPECT_EQ(result->artifacts[0].path, "out/a");
  EXPECT_EQ(result->artifacts[0].bytes, "2");
  EXPECT_EQ(result->artifacts[1].bytes.size(), 1000U);
  EXPECT_TRUE(result->artifacts_truncated) << "a name that is not UTF-8 is left out";
}

}  // namespace
}  // namespace bailiff::server
