// The job document: composed from what is stored, with outputs as text, base64 or null.
#include "server/api_job.h"

#include <gtest/gtest.h>

#include "server_api_fakes.h"

namespace bailiff::server {
namespace {

using testing::FakeStore;

core::JobResult sample_result() {
  core::JobResult result;
  result.verdict = core::Verdict::wrong_answer;
  result.message = "test 1 differs";
  core::StepResult step;
  step.name = "compile";
  step.outcome.verdict = core::Verdict::ok;
  step.outcome.exit_code = 0;
  step.outcome.usage = {12418, 9100, 3318, 14020, 3612672, 3};
  step.outcome.evidence = {{"oom_kill", 0}};
  step.stdout_bytes = "héllo\n";
  step.stderr_bytes = "\xff\xfe";
  result.steps.push_back(step);
  core::TestResult test;
  test.name = "1";
  test.outcome.verdict = core::Verdict::wrong_answer;
  test.stdout_bytes = "8";
  test.checker_message = "token 1 differs";
  result.tests.push_back(test);
  result.score = 0;
  return result;
}

storage::StoredJob finished_job(FakeStore& store) {
  storage::StoredJob job;
  job.id = "j";
  job.created_us = 1'767'225'600'000'000;
  job.labels = {{"user", "42"}};
  job.request = R"({"language":"cpp","image":"host","image_digest":"sha256:0","request":{"language":"other","image":"x"}})";
  store.put(job);
  storage::Finish finish;
  finish.id = "j";
  put_result(finish, sample_result());
  store.put_finish(std::move(finish));
  return *store.get("j");
}

TEST(ApiJob, HasTheFieldsOfTheContract) {
  FakeStore store;
  const auto job = compose_job(finished_job(store), store, {});
  ASSERT_TRUE(job);
  std::vector<std::string> names;
  for (const auto& [name, value] : job->items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"id",
                                             "state",
                                             "paused",
                                             "verdict",
                                             "message",
                                             "created_at",
                                             "started_at",
                                             "finished_at",
                                             "attempt",
                                             "language",
                                             "language_version",
                                             "image",
                                             "image_digest",
                                             "labels",
                                             "priority",
                                             "traceparent",
                                             "owner",
                                             "steps",
                                             "tests",
                                             "score",
                                             "artifacts",
                                             "artifacts_truncated"}));
  EXPECT_EQ((*job)["language"], "cpp");
  EXPECT_EQ((*job)["image_digest"], "sha256:0");
  EXPECT_EQ((*job)["verdict"], "wrong_answer");
  EXPECT_EQ((*job)["message"], "test 1 differs");
  EXPECT_EQ((*job)["score"], 0);
  const auto& step = (*job)["steps"][0];
  EXPECT_EQ(step["cpu_time_ms"], 12.418);
  EXPECT_EQ(step["stdout"], "héllo\n");
  EXPECT_EQ(step["stderr"]["base64"], "//4=");
  EXPECT_EQ(step["evidence"]["oom_kill"], 0);
  EXPECT_FALSE(step.contains("stdout_bytes"));
  const auto& test = (*job)["tests"][0];
  EXPECT_EQ(test["stdout"], "8");
  EXPECT_EQ(test["stderr"], "");
  EXPECT_EQ(test["points"], 0);
  EXPECT_EQ(test["checker_message"], "token 1 differs");
}

TEST(ApiJob, UnfinishedHasNoResult) {
  FakeStore store;
  storage::StoredJob job;
  job.id = "j";
  job.request = "{}";
  const auto document = compose_job(job, store, {});
  ASSERT_TRUE(document);
  for (const char* field : {"verdict", "message", "started_at", "finished_at", "language", "score"})
    EXPECT_TRUE((*document)[field].is_null()) << field;
  for (const char* field : {"steps", "tests", "artifacts"}) EXPECT_EQ((*document)[field], core::Json::array()) << field;
}

TEST(ApiJob, OutputsOverTheBoundAreNull) {
  FakeStore store;
  const auto stored = finished_job(store);
  const auto job = compose_job(stored, store, {true, 7});
  EXPECT_EQ((*job)["steps"][0]["stdout"], "héllo\n");
  EXPECT_TRUE((*job)["steps"][0]["stderr"].is_null());
  EXPECT_TRUE((*job)["tests"][0]["stdout"].is_null());
  const auto listed = compose_job(stored, store, {false, 0});
  EXPECT_FALSE((*listed)["steps"][0].contains("stdout"));
  EXPECT_FALSE((*listed)["steps"][0].contains("stdout_bytes"));
}

TEST(ApiJob, KnowsTheSizesOfOutputs) {
  FakeStore store;
  const auto job = finished_job(store);
  using enum storage::Stream;
  EXPECT_EQ(stored_output_bytes(job, 0, stdout_stream), 7U);
  EXPECT_EQ(stored_output_bytes(job, 0, stderr_stream), 2U);
  EXPECT_EQ(stored_output_bytes(job, 1, stdout_stream), std::nullopt);
  EXPECT_EQ(stored_output_bytes(job, storage::kFirstTest, stdout_stream), 1U);
  EXPECT_EQ(stored_output_bytes(job, storage::kFirstTest, stderr_stream), 0U);
  EXPECT_EQ(stored_output_bytes(job, storage::kFirstTest + 1, stderr_stream), std::nullopt);
}

}  // namespace
}  // namespace bailiff::server
