// The job queue over a real store in memory and fake slots: accept, claim, finish, requeue, cancel, wait, drain.
#include <algorithm>

#include "sandbox/exec_message.h"
#include "server/api_request.h"
#include "server/job_queue.h"
#include "server_runner_fakes.h"

namespace bailiff::server {
namespace {

using core::JobState;
using core::Verdict;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::FakeSlots;
using testing::Report;
using testing::report_of;

class QueueTest : public ::testing::Test {
 protected:
  void begin(unsigned slots, FakeSlots::Behaviour behaviour, JobQueue::Options options = {}) {
    store_ = std::move(*storage::Store::open({":memory:", 5000, 512}));
    slots_.emplace(std::move(behaviour));
    pool_.emplace(io_, *slots_, slots);
    pool_->start([](const core::Error&) {});
    for (unsigned i = 0; i < slots; ++i) slots_->announce(i);
    testing::run_until(io_, [&]() { return pool_->alive() == slots; });
    runner_.emplace(*pool_, catalogue_, LimitLevels{}, threads_, metrics_);
    queue_.emplace(io_, *store_, *pool_, *runner_, catalogue_, threads_, metrics_, shares_, options);
    ASSERT_TRUE(queue_->start());
  }
  void TearDown() override {
    if (!drained_) drain(milliseconds(0));
    pool_->stop();
    store_->close();
    testing::run_until(io_, [&]() { return io_.poll() == 0; });
  }
  void drain(milliseconds at_most) {
    drained_ = true;
    testing::wait_for(io_, [](JobQueue& queue, steady_clock::time_point deadline) -> boost::asio::awaitable<bool> {
      co_await queue.drain(deadline);
      co_return true;
    }(*queue_, steady_clock::now() + at_most));
  }
  /// Language `int`, with this source.
  storage::NewJob job(const std::string& source, int priority = 0) {
    core::JobSpec spec;
    spec.language = "int";
    spec.stdin_content.bytes = source;
    spec.source = core::Content{source, {}};
    storage::NewJob made;
    made.priority = priority;
    made.request = stored_request(spec, catalogue_);
    return made;
  }
  std::string submit(const std::string& source, int priority = 0) {
    const auto submitted = testing::wait_for(io_, queue_->submit(job(source, priority)));
    EXPECT_TRUE(submitted) << submitted.error().what;
    return submitted ? submitted->id : "";
  }
  bool wait(const std::string& id, milliseconds at_most = milliseconds(10'000)) {
    return testing::wait_for(io_, queue_->wait_finished(id, at_most));
  }
  storage::StoredJob get(const std::string& id) {
    auto found = store_->get(id);
    EXPECT_TRUE(found) << found.error().what;
    return found ? std::move(*found) : storage::StoredJob{};
  }
  std::size_t running() {
    const auto all = queue_->slots();
    return std::count_if(all.begin(), all.end(), [](const SlotInfo& slot) { return !slot.job_id.empty(); });
  }

  boost::asio::io_context io_{1};
  boost::asio::thread_pool threads_{1};
  images::Catalogue catalogue_ = testing::small_catalogue();
  std::unique_ptr<storage::Store> store_;
  std::optional<FakeSlots> slots_;
  std::optional<SlotPool> pool_;
  Metrics metrics_;
  FairShare shares_;
  std::optional<Runner> runner_;
  std::optional<JobQueue> queue_;
  bool drained_ = false;
};

std::optional<Report> fine(const sandbox::StepRequest& request, unsigned) {
  testing::print(request, "ran " + testing::stdin_of(request));
  return report_of(Verdict::ok);
}
std::optional<Report> forever(const sandbox::StepRequest&, unsigned) { return std::nullopt; }

TEST_F(QueueTest, AJobIsStoredRunAndFinishedWithItsOutput) {
  begin(2, fine);
  const auto id = submit("one");
  ASSERT_TRUE(wait(id));
  const auto stored = get(id);
  EXPECT_EQ(stored.state, JobState::finished);
  EXPECT_EQ(stored.verdict, Verdict::ok);
  EXPECT_EQ(stored.attempt, 1);
  const auto output = store_->output(id, 0, storage::Stream::stdout_stream, 0, 100);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->bytes, "ran one");
}

TEST_F(QueueTest, ManyJobsEachRunOnce) {
  begin(3, fine);
  std::vector<std::string> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(submit(std::to_string(i)));
  for (const auto& id : ids) EXPECT_TRUE(wait(id));
  EXPECT_EQ(slots_->seen.size(), 200u);
  std::set<std::string> inputs;
  for (const auto& seen : slots_->seen) inputs.insert(seen.stdin_bytes);
  EXPECT_EQ(inputs.size(), 200u);
  EXPECT_EQ(store_->depth()->queued + store_->depth()->running, 0u);
}

TEST_F(QueueTest, WhatHappensIsCounted) {
  int failures = 1;
  begin(2, [&](const sandbox::StepRequest& request, unsigned slot) -> std::optional<Report> {
    if (failures-- > 0) return core::error(core::ErrorKind::unavailable, "a slot died");
    return fine(request, slot);
  });
  for (const char* name : {"one", "two"}) ASSERT_TRUE(wait(submit(name)));
  const auto text = metrics_.text({});
  for (const char* line : {"bailiff_jobs_accepted_total 2\n", "bailiff_jobs_requeued_total 1\n", "bailiff_job_wait_seconds_count 2\n",
                           "bailiff_job_run_seconds_count 2\n", "bailiff_jobs_finished_total{verdict=\"ok\"} 2\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  EXPECT_EQ(text.find("bailiff_step_overhead_seconds_count 0\n"), std::string::npos) << text;
}

TEST_F(QueueTest, AFullQueueStillTellsOfAJobThatItHas) {
  JobQueue::Options options;
  options.max_queued = 1;
  begin(1, forever, options);
  submit("runs");
  testing::run_until(io_, [&]() { return running() == 1; });
  const auto submit_with_key = [&](const char* key, const char* digest) {
    auto waiting = job("waits");
    waiting.idempotency_key = key;
    waiting.request_digest = digest;
    return testing::wait_for(io_, queue_->submit(std::move(waiting)));
  };
  const auto first = submit_with_key("key", "digest");
  ASSERT_TRUE(first);
  EXPECT_EQ(submit_with_key("other key", "digest").error().kind, core::ErrorKind::unavailable);
  const auto again = submit_with_key("key", "digest");
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->id, first->id);
  EXPECT_EQ(submit_with_key("key", "another digest").error().kind, core::ErrorKind::conflict);
}

TEST_F(QueueTest, AFullQueueStillTellsOfABatchThatItHas) {
  JobQueue::Options options;
  options.max_queued = 3;
  begin(1, forever, options);
  submit("runs");
  testing::run_until(io_, [&]() { return running() == 1; });
  const auto batch = [&](std::initializer_list<const char*> keys) {
    std::vector<storage::NewJob> jobs;
    for (const char* key : keys) {
      jobs.push_back(job("waits"));
      jobs.back().idempotency_key = key;
    }
    auto submitted = testing::wait_for(io_, queue_->submit_all(std::move(jobs)));
    EXPECT_TRUE(submitted);
    return submitted ? *submitted : std::vector<storage::Submitted>{};
  };
  const auto first = batch({"1", "2", "3", "4"});
  ASSERT_EQ(first.size(), 3U) << "as many as there is room for";
  const auto again = batch({"1", "2", "3", "4"});
  ASSERT_EQ(again.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(again[i].id, first[i].id);
  EXPECT_EQ(batch({"5", "1"}).size(), 0U) << "in order, so that each answer has its place";
}

TEST_F(QueueTest, HigherPriorityGoesFirst) {
  begin(1, forever);
  submit("first");
  testing::run_until(io_, [&]() { return running() == 1; });
  submit("low", -1);
  submit("high", 5);
  slots_->live.at(0)->end(report_of(Verdict::ok));
  testing::run_until(io_, [&]() { return slots_->seen.size() == 2; });
  EXPECT_EQ(slots_->seen[1].stdin_bytes, "high");
}

TEST_F(QueueTest, AFailedSlotIsTriedAgainAndThenGivenUp) {
  begin(1, [this](const sandbox::StepRequest& request, unsigned index) -> std::optional<Report> {
    if (testing::stdin_of(request) == "good") return fine(request, index);
    return core::error(core::ErrorKind::internal, "/secret/path: mount failed");
  });
  const auto id = submit("bad"), other = submit("good");
  ASSERT_TRUE(wait(id));
  ASSERT_TRUE(wait(other));
  const auto stored = get(id);
  EXPECT_EQ(stored.verdict, Verdict::internal_error);
  EXPECT_EQ(stored.attempt, 3);
  EXPECT_EQ(stored.message.find("secret"), std::string::npos);
  EXPECT_EQ(get(other).verdict, Verdict::ok);
}

TEST_F(QueueTest, ARefusedStepIsNotTriedAgain) {
  begin(1, [](const auto&, unsigned) -> std::optional<Report> { return core::error(core::ErrorKind::invalid, "no such image"); });
  const auto id = submit("bad");
  ASSERT_TRUE(wait(id));
  EXPECT_EQ(get(id).attempt, 1);
  EXPECT_EQ(get(id).verdict, Verdict::internal_error);
}

TEST_F(QueueTest, CancelOfAQueuedAndOfARunningJob) {
  begin(1, forever);
  const auto first = submit("running"), second = submit("queued");
  testing::run_until(io_, [&]() { return running() == 1; });
  EXPECT_EQ(*testing::wait_for(io_, queue_->cancel(second)), JobState::finished);
  EXPECT_TRUE(wait(second, milliseconds(0)));
  EXPECT_EQ(*testing::wait_for(io_, queue_->cancel(first)), JobState::running);
  EXPECT_TRUE(wait(first));
  EXPECT_EQ(get(first).verdict, Verdict::cancelled);
  EXPECT_EQ(get(second).verdict, Verdict::cancelled);
  EXPECT_EQ(*testing::wait_for(io_, queue_->cancel(first)), JobState::finished) << "idempotent";
  EXPECT_EQ(testing::wait_for(io_, queue_->cancel("nobody")).error().kind, core::ErrorKind::not_found);
}

TEST_F(QueueTest, LooksAndCommandsBesideARunningJob) {
  using core::ErrorKind;
  const auto inspect = [&](const std::string& id) { return testing::wait_for(io_, queue_->inspect(id)); };
  const auto exec = [&](const std::string& id) { return testing::wait_for(io_, queue_->exec(id, {})); };
  begin(1, forever);
  const auto first = submit("running"), second = submit("queued");
  testing::run_until(io_, [&]() { return running() == 1 && slots_->seen.size() == 1; });
  EXPECT_EQ(inspect("nobody").error().kind, ErrorKind::not_found);
  EXPECT_EQ(exec("nobody").error().kind, ErrorKind::not_found);
  EXPECT_EQ(inspect(second).error().kind, ErrorKind::conflict);
  EXPECT_EQ(exec(second).error().kind, ErrorKind::conflict);
  EXPECT_EQ(exec(first).error().kind, ErrorKind::conflict) << "its end came first";
  sandbox::Inspection inspection;
  inspection.memory_bytes = 4711;
  slots_->reply = sandbox::encode_inspection(inspection);
  const auto seen = inspect(first);
  ASSERT_TRUE(seen) << seen.error().what;
  EXPECT_EQ(seen->inspection.memory_bytes, 4711U);
  EXPECT_EQ(seen->slot, 0U);
  EXPECT_EQ(seen->part, (RunningPart{false, 0, "run"}));
  slots_->reply = sandbox::kBegunMessage;
  const auto session = exec(first);
  ASSERT_TRUE(session) << session.error().what;
  EXPECT_TRUE(session->control.valid() && session->input.valid() && !session->output.valid());
  slots_->reply = sandbox::encode_refusal({ErrorKind::invalid, "no such command", 0});
  EXPECT_EQ(exec(first).error().what, "no such command");
  slots_->live.at(0)->end(report_of(Verdict::ok));
  ASSERT_TRUE(wait(first));
  EXPECT_EQ(inspect(first).error().kind, ErrorKind::conflict);
}

TEST_F(QueueTest, PauseAndResumeOfARunningJob) {
  begin(1, forever);
  const auto first = submit("running"), second = submit("queued");
  testing::run_until(io_, [&]() { return running() == 1 && slots_->seen.size() == 1; });
  auto& slot = *slots_->live.at(0);
  EXPECT_EQ(queue_->set_paused(second, true).error().kind, core::ErrorKind::conflict);
  EXPECT_EQ(queue_->set_paused("nobody", true).error().kind, core::ErrorKind::not_found);
  EXPECT_TRUE(queue_->set_paused(first, false)) << "it is not paused";
  EXPECT_EQ(slot.resumes, 0);
  for (int times = 0; times < 2; ++times) EXPECT_TRUE(queue_->set_paused(first, true));
  EXPECT_EQ(slot.pauses, 1);
  EXPECT_EQ(queue_->paused(), std::set{first});
  for (int times = 0; times < 2; ++times) EXPECT_TRUE(queue_->set_paused(first, false));
  EXPECT_EQ(slot.resumes, 1);
  EXPECT_TRUE(queue_->paused().empty());
  EXPECT_TRUE(queue_->set_paused(first, true));
  EXPECT_TRUE(testing::wait_for(io_, queue_->cancel(first)));
  EXPECT_TRUE(queue_->paused().empty());
  EXPECT_TRUE(wait(first));
  EXPECT_EQ(get(first).verdict, Verdict::cancelled);
  EXPECT_EQ(queue_->set_paused(first, false).error().kind, core::ErrorKind::conflict);
}

TEST_F(QueueTest, NoFurtherStepOfAPausedJobStarts) {
  begin(1, forever);
  auto two_steps = job("x");
  core::JobSpec spec;
  spec.image = "host";
  for (const char* name : {"a", "b", "c"}) spec.steps.push_back({name, {name}, {}, "", {}, {}, false});
  two_steps.request = stored_request(spec, catalogue_);
  const auto id = testing::wait_for(io_, queue_->submit(two_steps))->id;
  testing::run_until(io_, [&]() { return slots_->seen.size() == 1; });
  ASSERT_TRUE(queue_->set_paused(id, true));
  slots_->live.at(0)->end(report_of(Verdict::ok));  // it was too late for the first
  EXPECT_FALSE(wait(id, milliseconds(50)));
  EXPECT_EQ(slots_->seen.size(), 1u);
  ASSERT_TRUE(queue_->set_paused(id, false));
  testing::run_until(io_, [&]() { return slots_->seen.size() == 2; });
  EXPECT_EQ(slots_->seen[1].argv, std::vector<std::string>{"b"});
  ASSERT_TRUE(queue_->set_paused(id, true));
  slots_->live.at(0)->end(report_of(Verdict::ok));
  EXPECT_FALSE(wait(id, milliseconds(50)));
  EXPECT_TRUE(testing::wait_for(io_, queue_->cancel(id))) << "a cancel reaches it between two steps";
  EXPECT_TRUE(wait(id));
  EXPECT_EQ(get(id).verdict, Verdict::cancelled);
  EXPECT_EQ(slots_->seen.size(), 2u);
}

TEST_F(QueueTest, TheLongestPauseEndsByItself) {
  begin(1, forever, {.max_pause = milliseconds(20)});
  const auto id = submit("x");
  testing::run_until(io_, [&]() { return slots_->seen.size() == 1; });
  ASSERT_TRUE(queue_->set_paused(id, true));
  testing::run_until(io_, [&]() { return queue_->paused().empty(); });
  EXPECT_EQ(slots_->live.at(0)->resumes, 1);
}

TEST_F(QueueTest, ACancelledJobWhoseSlotDiesIsCancelledNotRetried) {
  begin(1, forever);
  const auto id = submit("x");
  testing::run_until(io_, [&]() { return running() == 1; });
  // Both are on their way at once: the slot is dead before the cancel reaches it.
  slots_->live.at(0)->die();
  EXPECT_TRUE(testing::wait_for(io_, queue_->cancel(id)));
  slots_->announce(0);
  EXPECT_TRUE(wait(id));
  EXPECT_EQ(get(id).verdict, Verdict::cancelled);
  EXPECT_EQ(slots_->seen.size(), 1u);
}

TEST_F(QueueTest, WaitingEndsWhenTheTimeIsOver) {
  begin(1, forever);
  const auto id = submit("x");
  EXPECT_FALSE(wait(id, milliseconds(30)));
  EXPECT_FALSE(wait("nobody", milliseconds(10)));
}

TEST_F(QueueTest, TheQueueHasABound) {
  begin(1, forever, {3, 3});
  submit("runs");
  testing::run_until(io_, [&]() { return running() == 1; });
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(submit("waits"));
  const auto refused = testing::wait_for(io_, queue_->submit(job("too many")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, core::ErrorKind::unavailable);
  EXPECT_TRUE(testing::wait_for(io_, queue_->cancel(ids[0])));
  EXPECT_TRUE(testing::wait_for(io_, queue_->submit(job("fits again"))));
}

TEST_F(QueueTest, OutputsCanBeReadWhileAStepRuns) {
  begin(1, [](const sandbox::StepRequest& request, unsigned) -> std::optional<Report> {
    testing::print(request, "so far");
    return std::nullopt;
  });
  const auto id = submit("x");
  testing::run_until(io_, [&]() { return running() == 1 && slots_->seen.size() == 1; });
  const auto slice = queue_->live_output(id, 0, storage::Stream::stdout_stream, 3, 100);
  ASSERT_TRUE(slice);
  EXPECT_EQ(slice->bytes, "far");
  EXPECT_EQ(slice->total_bytes, 6u);
  EXPECT_EQ(queue_->live_output(id, 0, storage::Stream::stderr_stream, 0, 100)->total_bytes, 0u);
  EXPECT_EQ(queue_->live_output(id, 0, storage::Stream::stdout_stream, 6, 100)->bytes, "");
  EXPECT_FALSE(queue_->live_output(id, 1, storage::Stream::stdout_stream, 0, 100));
  EXPECT_FALSE(queue_->live_output("nobody", 0, storage::Stream::stdout_stream, 0, 100));
}

TEST_F(QueueTest, DrainLetsARunningJobEndAndClaimsNoOther) {
  begin(1, forever);
  const auto first = submit("runs"), second = submit("waits");
  testing::run_until(io_, [&]() { return running() == 1; });
  boost::asio::steady_timer end(io_, milliseconds(50));
  end.async_wait([&](auto) { slots_->live.at(0)->end(report_of(Verdict::ok)); });
  drain(milliseconds(10'000));
  EXPECT_FALSE(queue_->ready());
  EXPECT_EQ(get(first).state, JobState::finished);
  EXPECT_EQ(get(second).state, JobState::queued);
  EXPECT_EQ(slots_->seen.size(), 1u);
  EXPECT_EQ(testing::wait_for(io_, queue_->submit(job("late"))).error().kind, core::ErrorKind::unavailable);
}

TEST_F(QueueTest, DrainPutsWhatDoesNotEndBackIntoTheQueue) {
  begin(2, forever);
  const auto first = submit("a"), second = submit("b");
  testing::run_until(io_, [&]() { return slots_->seen.size() == 2; });
  drain(milliseconds(30));
  for (const auto& id : {first, second}) {
    EXPECT_EQ(get(id).state, JobState::queued);
    EXPECT_FALSE(get(id).verdict);
  }
}

TEST_F(QueueTest, AnIdempotentSubmitKnowsTheFirst) {
  begin(1, fine);
  auto keyed = job("x");
  keyed.idempotency_key = "k";
  keyed.request_digest = "d";
  const auto first = testing::wait_for(io_, queue_->submit(keyed));
  ASSERT_TRUE(first);
  ASSERT_TRUE(wait(first->id));
  const auto second = testing::wait_for(io_, queue_->submit(keyed));
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->existed);
  EXPECT_EQ(second->id, first->id);
  EXPECT_TRUE(wait(second->id, milliseconds(0)));
  keyed.request_digest = "other";
  EXPECT_EQ(testing::wait_for(io_, queue_->submit(keyed)).error().kind, core::ErrorKind::conflict);
}

}  // namespace
}  // namespace bailiff::server
