#include <thread>
#include <vector>

#include "storage_fixture.h"

namespace bailiff::storage::test {
namespace {

using core::ErrorKind;
using core::JobState;
using core::Verdict;
using Depth = std::pair<std::uint64_t, std::uint64_t>;

INSTANTIATE_TEST_SUITE_P(Where, StoreTest, testing::Bool(), [](const auto& where) { return where.param ? "File" : "Memory"; });

TEST_P(StoreTest, KeepsWhatWasSubmitted) {
  NewJob job = new_job("a", 3);
  job.labels = {{"user", "42"}, {"", ""}};
  job.request = std::string("nul \0 and \xff", 11);
  const auto submitted = submit(store(), job);
  ASSERT_TRUE(submitted.has_value());
  EXPECT_EQ(submitted->id, "a");
  EXPECT_FALSE(submitted->existed);
  const StoredJob stored = this->job("a");
  EXPECT_EQ(stored.state, JobState::queued);
  EXPECT_EQ(stored.verdict, std::nullopt);
  EXPECT_EQ(stored.priority, 3);
  EXPECT_EQ(stored.attempt, 0);
  EXPECT_EQ(stored.labels, job.labels);
  EXPECT_EQ(stored.created_us, 1'000);
  EXPECT_EQ(stored.started_us, std::nullopt);
  EXPECT_EQ(stored.finished_us, std::nullopt);
  EXPECT_EQ(stored.request, job.request);
  EXPECT_EQ(stored.result, "");
  EXPECT_EQ(depth(), Depth(1, 0));
  EXPECT_EQ(error_kind(store().get("b")), ErrorKind::not_found);
}

TEST_P(StoreTest, ASecondJobOfTheSameIdIsAConflictAndTheFirstStays) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  NewJob other = new_job("a", 5);
  other.labels = {{"k", "v"}};
  EXPECT_EQ(error_kind(submit(store(), other)), ErrorKind::conflict);
  EXPECT_EQ(job("a").priority, 0);
  EXPECT_TRUE(job("a").labels.empty());
  EXPECT_EQ(depth(), Depth(1, 0));
}

TEST_P(StoreTest, ClaimsByPriorityThenAge) {
  for (const auto& [id, priority] : {std::pair{"b", 0}, {"a", 0}, {"d", 5}, {"c", 5}, {"e", -5}})
    ASSERT_TRUE(submit(store(), new_job(id, priority)));
  std::string order;
  for (int i = 0; i < 5; ++i) order += claim(store()).id;
  EXPECT_EQ(order, "cdabe");
  EXPECT_EQ(claim(store()).id, "");
  EXPECT_EQ(depth(), Depth(0, 5));
}

TEST_P(StoreTest, TellsTheOldestQueuedJobOfAnyPriority) {
  const auto oldest = [&]() { return store().oldest_queued_us().value(); };
  EXPECT_EQ(oldest(), std::nullopt);
  std::int64_t created_us = 1'000;
  for (const auto& [id, priority] : {std::pair{"a", 0}, {"b", 7}, {"c", -3}, {"d", 7}, {"e", 0}}) {
    NewJob job = new_job(id, priority);
    job.created_us = created_us++;
    ASSERT_TRUE(submit(store(), job));
  }
  for (const auto& [id, next_oldest] : {std::pair{"b", 1'000}, {"d", 1'000}, {"a", 1'002}, {"e", 1'002}}) {
    const ClaimedJob claimed = claim(store());
    EXPECT_EQ(claimed.id, id);
    EXPECT_EQ(claimed.created_us, 1'000 + id[0] - 'a');
    EXPECT_EQ(oldest(), next_oldest) << id;
  }
  EXPECT_EQ(claim(store()).id, "c");
  EXPECT_EQ(oldest(), std::nullopt);
}

TEST_P(StoreTest, ForgetsTheOldestFinishedJobsAFewAtATime) {
  const auto forget = [&](const std::string& before_id, std::int64_t finished_before_us, int most) {
    return answer(posted<std::size_t>([&](Callback<std::size_t> done) { store().forget_old(before_id, finished_before_us, most, done); }))
        .value();
  };
  for (const char* id : {"a", "b", "c", "d", "e", "f"}) ASSERT_TRUE(submit(store(), new_job(id)));
  for (const std::int64_t finished_us : {3'000, 9'000, 3'000, 3'000}) {
    auto end = end_of(claim(store()));
    end.finished_us = finished_us;
    ASSERT_TRUE(finish(store(), end));
  }
  claim(store());  // "e" runs, "f" is queued
  EXPECT_EQ(store().id_before_newest(0).value(), "f");
  EXPECT_EQ(store().id_before_newest(5).value(), "a");
  EXPECT_EQ(store().id_before_newest(6).value(), std::nullopt);

  EXPECT_EQ(forget("a", 10'000, 9), 0U);
  EXPECT_EQ(forget("d", 3'000, 9), 0U);
  EXPECT_EQ(forget("d", 3'001, 1), 1U);
  EXPECT_EQ(error_kind(store().get("a")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(store().output("a", 0, Stream::stdout_stream, 0, 1)), ErrorKind::not_found);
  EXPECT_EQ(forget("d", 3'001, 9), 1U);
  EXPECT_EQ(error_kind(store().get("c")), ErrorKind::not_found);
  EXPECT_EQ(forget("z", 10'000, 9), 2U);
  EXPECT_EQ(forget("z", 10'000, 9), 0U);
  EXPECT_EQ(job("e").state, JobState::running);
  EXPECT_EQ(job("f").state, JobState::queued);
  EXPECT_EQ(depth(), Depth(1, 1));
}

TEST_P(StoreTest, NoJobWaitsForEverBehindItsOwnersOthers) {
  ASSERT_TRUE(submit(store(), new_job("a", -10)));
  int claims = 0;
  for (std::string claimed; claimed != "a" && claims < 100; ++claims) {
    ASSERT_TRUE(submit(store(), new_job("b" + std::to_string(1000 + claims), 10)));
    claimed = claim(store()).id;
  }
  EXPECT_EQ(claims, 16);
}

TEST_P(StoreTest, AClaimIsALeaseWithAnAttempt) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  const ClaimedJob first = claim(store(), 77);
  EXPECT_EQ(first.attempt, 1);
  EXPECT_EQ(first.request, new_job("a").request);
  EXPECT_EQ(job("a").state, JobState::running);
  EXPECT_EQ(job("a").started_us, 77);
  ASSERT_TRUE(requeue(store(), "a", 1));
  EXPECT_EQ(job("a").state, JobState::queued);
  EXPECT_EQ(job("a").started_us, std::nullopt);
  EXPECT_EQ(job("a").attempt, 1);
  EXPECT_EQ(claim(store()).attempt, 2);
}

TEST_P(StoreTest, FinishWritesResultAndOutputsOnce) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  Finish end = end_of(claim(store()), Verdict::runtime_error);
  end.message = "exit code 42";
  end.result = R"({"steps":[]})";
  end.outputs = {
      {0, Stream::stdout_stream, "out"}, {0, Stream::stderr_stream, ""}, {kFirstTest, Stream::stdout_stream, std::string("t\0", 2)}};
  ASSERT_TRUE(finish(store(), end));
  const StoredJob stored = job("a");
  EXPECT_EQ(stored.state, JobState::finished);
  EXPECT_EQ(stored.verdict, Verdict::runtime_error);
  EXPECT_EQ(stored.message, "exit code 42");
  EXPECT_EQ(stored.result, end.result);
  EXPECT_EQ(stored.finished_us, 3'000);
  EXPECT_EQ(depth(), Depth(0, 0));
  EXPECT_EQ(store().output("a", 0, Stream::stdout_stream, 0, 100)->bytes, "out");
  EXPECT_EQ(store().output("a", 0, Stream::stderr_stream, 0, 100)->total_bytes, 0U);
  EXPECT_EQ(store().output("a", kFirstTest, Stream::stdout_stream, 0, 100)->bytes, std::string("t\0", 2));
  EXPECT_EQ(error_kind(store().output("a", 1, Stream::stdout_stream, 0, 100)), ErrorKind::not_found);
  EXPECT_EQ(error_kind(store().output("b", 0, Stream::stdout_stream, 0, 100)), ErrorKind::not_found);
  EXPECT_EQ(error_kind(finish(store(), end)), ErrorKind::conflict);
}

TEST_P(StoreTest, OnlyTheAttemptThatHoldsTheLeaseMayEndOrRequeue) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  Finish early = end_of({"a", "", 0, ""}, Verdict::ok);
  EXPECT_EQ(error_kind(finish(store(), early)), ErrorKind::conflict);
  const ClaimedJob first = claim(store());
  ASSERT_TRUE(requeue(store(), "a", first.attempt));
  EXPECT_EQ(error_kind(requeue(store(), "a", first.attempt)), ErrorKind::conflict);
  const ClaimedJob second = claim(store());
  Finish late = end_of(first, Verdict::wrong_answer);
  late.outputs = {{0, Stream::stdout_stream, "late"}};
  EXPECT_EQ(error_kind(finish(store(), late)), ErrorKind::conflict);
  EXPECT_EQ(error_kind(requeue(store(), "a", first.attempt)), ErrorKind::conflict);
  EXPECT_EQ(job("a").state, JobState::running);
  EXPECT_EQ(error_kind(store().output("a", 0, Stream::stdout_stream, 0, 1)), ErrorKind::not_found);
  EXPECT_TRUE(finish(store(), end_of(second)));
  EXPECT_EQ(error_kind(finish(store(), end_of({"x", "", 1, ""}))), ErrorKind::not_found);
  EXPECT_EQ(error_kind(requeue(store(), "x", 1)), ErrorKind::not_found);
  EXPECT_EQ(depth(), Depth(0, 0));
}

TEST_P(StoreTest, AFinishThatFailsHalfwayWritesNothing) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  Finish end = end_of(claim(store()));
  end.outputs = {{0, Stream::stdout_stream, "one"}, {0, Stream::stdout_stream, "the same again"}};
  EXPECT_EQ(error_kind(finish(store(), end)), ErrorKind::conflict);
  EXPECT_EQ(job("a").state, JobState::running);
  EXPECT_EQ(job("a").result, "");
  EXPECT_EQ(error_kind(store().output("a", 0, Stream::stdout_stream, 0, 1)), ErrorKind::not_found);
  EXPECT_EQ(depth(), Depth(0, 1));
  end.outputs.pop_back();
  EXPECT_TRUE(finish(store(), end));
}

TEST_P(StoreTest, CancelEndsAQueuedJobMarksARunningOneAndLeavesAFinishedOne) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  EXPECT_EQ(cancel(store(), "a"), JobState::finished);
  EXPECT_EQ(job("a").verdict, Verdict::cancelled);
  EXPECT_EQ(job("a").finished_us, 4'000);
  EXPECT_EQ(claim(store()).id, "");
  EXPECT_EQ(cancel(store(), "a"), JobState::finished);

  ASSERT_TRUE(submit(store(), new_job("b")));
  const ClaimedJob running = claim(store());
  EXPECT_EQ(cancel(store(), "b"), JobState::running);
  EXPECT_EQ(cancel(store(), "b"), JobState::running);
  EXPECT_TRUE(job("b").cancel_requested);
  EXPECT_EQ(job("b").state, JobState::running);
  ASSERT_TRUE(finish(store(), end_of(running, Verdict::cancelled)));
  EXPECT_EQ(cancel(store(), "b"), JobState::finished);
  EXPECT_EQ(job("b").finished_us, 3'000);

  EXPECT_EQ(error_kind(cancel(store(), "c")), ErrorKind::not_found);
  EXPECT_EQ(depth(), Depth(0, 0));
}

TEST_P(StoreTest, ACancelledJobThatIsRequeuedIsFinishedInstead) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  const ClaimedJob running = claim(store());
  ASSERT_EQ(cancel(store(), "a"), JobState::running);
  ASSERT_TRUE(requeue(store(), "a", running.attempt));
  EXPECT_EQ(job("a").state, JobState::finished);
  EXPECT_EQ(job("a").verdict, Verdict::cancelled);
  EXPECT_EQ(claim(store()).id, "");
  EXPECT_EQ(depth(), Depth(0, 0));
}

NewJob keyed(std::string id, std::string key, std::string digest, std::string owner = "") {
  NewJob job = new_job(std::move(id));
  job.idempotency_key = std::move(key);
  job.request_digest = std::move(digest);
  job.owner = std::move(owner);
  return job;
}

TEST_P(StoreTest, AnIdempotencyKeyGivesTheFirstJob) {
  ASSERT_TRUE(submit(store(), keyed("a", "k", "d1")));
  const auto again = submit(store(), keyed("b", "k", "d1"));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id, "a");
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(error_kind(store().get("b")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(submit(store(), keyed("c", "k", "d2"))), ErrorKind::conflict);
  EXPECT_FALSE(submit(store(), keyed("d", "k", "d2", "another owner"))->existed);
  EXPECT_FALSE(submit(store(), keyed("e", "k2", "d2"))->existed);
  EXPECT_EQ(depth(), Depth(3, 0));
}

TEST_P(StoreTest, WritesOfOneBatchSeeOneAnotherAndFailAlone) {
  HeldWriter held(store());
  auto first = post_submit(store(), keyed("a", "k", "d1"));
  auto same = post_submit(store(), keyed("b", "k", "d1"));
  auto other = post_submit(store(), keyed("c", "k", "d2"));
  auto plain = post_submit(store(), new_job("d"));
  auto duplicate = post_submit(store(), new_job("d"));
  auto claim_1 = post_claim(store()), claim_2 = post_claim(store()), claim_3 = post_claim(store());
  auto stale = post_finish(store(), end_of({"a", "", 9, ""}));
  auto good = post_finish(store(), end_of({"a", "", 1, ""}));
  held.release();
  EXPECT_EQ(answer(std::move(first))->id, "a");
  const auto existed = answer(std::move(same));
  EXPECT_TRUE(existed && existed->existed && existed->id == "a");
  EXPECT_EQ(error_kind(answer(std::move(other))), ErrorKind::conflict);
  EXPECT_TRUE(answer(std::move(plain)));
  EXPECT_EQ(error_kind(answer(std::move(duplicate))), ErrorKind::conflict);
  EXPECT_EQ(answer(std::move(claim_1)).value()->id, "a");
  EXPECT_EQ(answer(std::move(claim_2)).value()->id, "d");
  EXPECT_EQ(answer(std::move(claim_3)).value(), std::nullopt);
  EXPECT_EQ(error_kind(answer(std::move(stale))), ErrorKind::conflict);
  EXPECT_TRUE(answer(std::move(good)));
  EXPECT_EQ(job("a").state, JobState::finished);
  EXPECT_EQ(depth(), Depth(0, 1));
}

std::string ids(const core::Result<std::vector<StoredJob>>& jobs) {
  std::string text;
  if (!jobs) return jobs.error().what;
  for (const StoredJob& job : *jobs) text += job.id;
  return text;
}

TEST_P(StoreTest, ListsNewestFirstByCursorAndFilters) {
  for (const char* id : {"a", "b", "c", "d", "e", "f"}) {
    NewJob job = new_job(id);
    job.labels = {{"odd", *id % 2 == 1 ? "1" : "0"}, {"all", "x"}};
    ASSERT_TRUE(submit(store(), job));
  }
  ASSERT_TRUE(finish(store(), end_of(claim(store()), Verdict::ok)));
  ASSERT_TRUE(finish(store(), end_of(claim(store()), Verdict::runtime_error)));
  ASSERT_TRUE(finish(store(), end_of(claim(store()), Verdict::ok)));
  ASSERT_EQ(claim(store()).id, "d");
  const auto list = [&](std::optional<JobState> state, std::optional<Verdict> verdict, std::map<std::string, std::string> labels,
                        std::optional<std::string> before,
                        int limit) { return ids(store().list({state, verdict, std::move(labels), {}, before, limit})); };
  EXPECT_EQ(list({}, {}, {}, {}, 50), "fedcba");
  EXPECT_EQ(list({}, {}, {}, {}, 2), "fe");
  EXPECT_EQ(list({}, {}, {}, "e", 2), "dc");
  EXPECT_EQ(list({}, {}, {}, "a", 2), "");
  EXPECT_EQ(list({}, {}, {}, {}, 0), "");
  EXPECT_EQ(list(JobState::queued, {}, {}, {}, 50), "fe");
  EXPECT_EQ(list(JobState::running, {}, {}, {}, 50), "d");
  EXPECT_EQ(list(JobState::finished, {}, {}, "c", 50), "ba");
  EXPECT_EQ(list({}, Verdict::ok, {}, {}, 50), "ca");
  EXPECT_EQ(list(JobState::queued, Verdict::ok, {}, {}, 50), "");
  EXPECT_EQ(list({}, {}, {{"odd", "1"}}, {}, 50), "eca");
  EXPECT_EQ(list({}, {}, {{"odd", "1"}, {"all", "x"}}, "e", 50), "ca");
  EXPECT_EQ(list({}, {}, {{"odd", "1"}, {"all", "y"}}, {}, 50), "");
  EXPECT_EQ(list(JobState::queued, {}, {{"odd", "1"}}, {}, 50), "e");
  EXPECT_EQ(list(JobState::finished, Verdict::ok, {{"odd", "1"}, {"all", "x"}}, "c", 50), "a");
  EXPECT_EQ(list({}, {}, {{"odd", "' OR 1=1 --"}}, {}, 50), "");
  EXPECT_EQ(store().list({}).value().back().labels.at("odd"), "1");
  std::map<std::string, std::string> many;
  for (int i = 0; i < 17; ++i) many.emplace(std::to_string(i), "");
  EXPECT_EQ(error_kind(store().list({{}, {}, many, {}, {}, 50})), ErrorKind::invalid);
}

TEST_P(StoreTest, SlicesOfAnOutputCrossItsPieces) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  Finish end = end_of(claim(store()));
  std::string bytes(1'000'003, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  end.outputs = {{2, Stream::stdout_stream, bytes}};
  ASSERT_TRUE(finish(store(), end));
  constexpr std::uint64_t kPiece = 256U << 10;
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece, bytes.size() - 1})
    for (const std::uint64_t length : {std::uint64_t{1}, std::uint64_t{2}, kPiece, kPiece + 1, 2 * kPiece + 5, ~std::uint64_t{0}}) {
      const auto slice = store().output("a", 2, Stream::stdout_stream, offset, length);
      ASSERT_TRUE(slice.has_value());
      EXPECT_EQ(slice->total_bytes, bytes.size());
      EXPECT_TRUE(slice->bytes == bytes.substr(offset, length)) << offset << " " << length << " " << slice->bytes.size();
    }
  EXPECT_EQ(store().output("a", 2, Stream::stdout_stream, bytes.size(), 1)->bytes, "");
  EXPECT_EQ(store().output("a", 2, Stream::stdout_stream, ~std::uint64_t{0}, 1)->total_bytes, bytes.size());
  EXPECT_EQ(store().output("a", 2, Stream::stdout_stream, 5, 0)->bytes, "");
}

TEST_P(StoreTest, CloseAnswersWhatWasPostedAndRefusesTheRest) {
  std::vector<std::future<core::Result<Submitted>>> answers;
  for (int i = 0; i < 1'000; ++i) answers.push_back(post_submit(store(), new_job(std::to_string(i))));
  store().close();
  for (auto& one : answers) {
    ASSERT_EQ(one.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    EXPECT_TRUE(one.get());
  }
  EXPECT_EQ(error_kind(submit(store(), new_job("late"))), ErrorKind::unavailable);
  EXPECT_EQ(error_kind(store().get("1")), ErrorKind::unavailable);
  store().close();
}

TEST_P(StoreTest, ThreadsThatSubmitClaimFinishAndReadLoseAndRepeatNothing) {
  constexpr int kThreads = 4, kEach = 100;
  std::vector<std::vector<std::string>> ended(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          EXPECT_TRUE(submit(store(), new_job(std::to_string(t) + "-" + std::to_string(i))));
          const ClaimedJob mine = claim(store());  // each thread has submitted before it claims: there is always one
          EXPECT_EQ(store().get(mine.id)->attempt, 1);
          EXPECT_TRUE(finish(store(), end_of(mine)));
          EXPECT_TRUE(store().list({}).has_value());
          ended[static_cast<std::size_t>(t)].push_back(mine.id);
        }
      });
  }
  std::map<std::string, int> all;
  for (const auto& mine : ended)
    for (const std::string& id : mine) ++all[id];
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kThreads * kEach));
  EXPECT_FALSE(all.contains(""));
  EXPECT_EQ(depth(), Depth(0, 0));
}

inline core::Result<std::vector<Submitted>> submit_all(Store& store, std::vector<NewJob> jobs) {
  return answer(posted<std::vector<Submitted>>([&](auto done) { store.submit_all(std::move(jobs), std::move(done)); }));
}
inline core::Status forget(Store& store, const std::string& id) {
  return answer(posted<void>([&](Callback<void> done) { store.forget(id, std::move(done)); }));
}

TEST_P(StoreTest, ManyJobsAreStoredTogetherOrNotAtAll) {
  const auto submitted = submit_all(store(), {new_job("1"), new_job("2"), new_job("3")});
  ASSERT_TRUE(submitted);
  ASSERT_EQ(submitted->size(), 3U);
  EXPECT_EQ((*submitted)[2].id, "3");
  EXPECT_EQ(depth(), Depth(3, 0));
  EXPECT_FALSE(submit_all(store(), {new_job("4"), new_job("2")}));
  EXPECT_EQ(error_kind(store().get("4")), ErrorKind::not_found);
  EXPECT_EQ(depth(), Depth(3, 0));
  auto keyed = new_job("5"), other = new_job("6");
  keyed.idempotency_key = other.idempotency_key = "k";
  keyed.request_digest = "a";
  other.request_digest = "b";
  EXPECT_EQ(error_kind(submit_all(store(), {keyed, other})), ErrorKind::conflict);
  EXPECT_EQ(error_kind(store().get("5")), ErrorKind::not_found);
  ASSERT_TRUE(submit_all(store(), {keyed}));
  keyed.id = "7";
  const auto again = submit_all(store(), {new_job("8"), keyed});
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)[1].id, "5");
  EXPECT_TRUE((*again)[1].existed);
  EXPECT_EQ(depth(), Depth(5, 0));
}

TEST_P(StoreTest, AForgottenJobLeavesNothing) {
  auto named = new_job("1");
  named.labels = {{"user", "a"}};
  named.idempotency_key = "k";
  ASSERT_TRUE(submit(store(), named));
  EXPECT_EQ(error_kind(forget(store(), "1")), ErrorKind::conflict);
  const ClaimedJob running = claim(store());
  EXPECT_EQ(error_kind(forget(store(), "1")), ErrorKind::conflict);
  Finish end = end_of(running);
  end.outputs.push_back({0, Stream::stdout_stream, "out"});
  ASSERT_TRUE(finish(store(), end));
  ASSERT_TRUE(forget(store(), "1"));
  EXPECT_EQ(error_kind(forget(store(), "1")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(store().get("1")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(store().output("1", 0, Stream::stdout_stream, 0, 3)), ErrorKind::not_found);
  ListQuery query;
  query.labels = {{"user", "a"}};
  EXPECT_TRUE(store().list(query)->empty());
  named.id = "2";
  named.request_digest = "other";
  EXPECT_EQ(submit(store(), named)->id, "2") << "its key is free";
  EXPECT_EQ(depth(), Depth(1, 0));
}

TEST(StoreBounds, TooManyWaitingWritesAreRefusedAtOnceAndTheEndOfAJobIsNot) {
  Options options;
  options.path = ":memory:";
  options.max_waiting = 4;
  options.max_waiting_bytes = 1'000'000;
  auto store = Store::open(options);
  ASSERT_TRUE(store.has_value());
  ASSERT_TRUE(submit(**store, new_job("running")));
  const ClaimedJob running = claim(**store);
  HeldWriter held(**store);
  NewJob large = new_job("large");
  large.request = std::string(999'999, ' ');
  EXPECT_EQ(error_kind(submit(**store, large)), ErrorKind::unavailable);
  std::vector<std::future<core::Result<Submitted>>> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(post_submit(**store, new_job(std::to_string(i))));
  EXPECT_EQ(error_kind(submit(**store, new_job("one too many"))), ErrorKind::unavailable);
  auto end = post_finish(**store, end_of(running));
  held.release();
  for (auto& one : taken) EXPECT_TRUE(answer(std::move(one)));
  EXPECT_TRUE(answer(std::move(end)));
  EXPECT_TRUE(submit(**store, new_job("again")));
}

}  // namespace
}  // namespace bailiff::storage::test
