// The outbox: a webhook becomes due with the end of its job, whatever ends it, and stays due until that is recorded otherwise.
#include <atomic>

#include "tests/unit/storage_fixture.h"

namespace bailiff::storage::test {
namespace {

using core::ErrorKind;
using core::JobState;

constexpr std::int64_t kLater = 4'000'000'000'000'000;  // far behind any time of these tests, the clock's included

NewJob with_webhook(const std::string& id, const std::string& origin = "https://a") {
  NewJob job = new_job(id);
  job.webhook = Webhook{origin + "/hook", "a secret of twenty-four bytes", origin};
  return job;
}

class WebhookTest : public StoreTest {
 protected:
  /// What is due at `now_us`, where nothing can be due after `latest_us`.
  std::string due_ids(std::int64_t now_us = kLater, std::int64_t latest_us = kLater) {
    return ids_of(DueQuery{now_us, latest_us, 100, 100, {}});
  }
  std::string ids_of(const DueQuery& query) {
    std::string ids;
    const auto due = store().due_webhooks(query);
    EXPECT_TRUE(due) << (due ? "" : due.error().what);
    for (const auto& [id, origin] : due->webhooks) ids += id;
    return ids;
  }
  /// Of those that are due at the end of time.
  std::string share(std::size_t most, std::size_t most_per_origin, std::map<std::string, std::string> under_way = {}) {
    return ids_of(DueQuery{kLater, kLater, most, most_per_origin, std::move(under_way)});
  }
  std::optional<std::int64_t> next(std::int64_t now_us, std::int64_t latest_us) {
    return store().due_webhooks(DueQuery{now_us, latest_us, 1, 1, {}})->next_us;
  }
  core::Status record(WebhookAttempt attempt) {
    return answer(posted<void>([&](Callback<void> done) { store().record_webhook_attempt(attempt, std::move(done)); }));
  }
  core::Status forget(const std::string& id) {
    return answer(posted<void>([&](Callback<void> done) { store().forget(id, std::move(done)); }));
  }
  void end(const std::string& id, std::int64_t at_us) {
    const auto claimed = claim(store());
    EXPECT_EQ(claimed.id, id);
    auto end = end_of(claimed);
    end.finished_us = at_us;
    EXPECT_TRUE(finish(store(), end));
  }
};
INSTANTIATE_TEST_SUITE_P(Where, WebhookTest, testing::Bool(), [](const auto& where) { return where.param ? "File" : "Memory"; });

TEST_P(WebhookTest, IsKeptAndNotDueBeforeTheEnd) {
  ASSERT_TRUE(submit(store(), with_webhook("a")));
  ASSERT_TRUE(submit(store(), new_job("b")));
  const auto stored = store().webhook("a");
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->webhook.url, "https://a/hook");
  EXPECT_EQ(stored->webhook.secret, "a secret of twenty-four bytes");
  EXPECT_EQ(stored->webhook.origin, "https://a");
  EXPECT_EQ(stored->state, WebhookState::pending);
  EXPECT_EQ(stored->attempts, 0);
  EXPECT_EQ(stored->due_us, std::nullopt);
  EXPECT_EQ(stored->attempted_us, std::nullopt);
  EXPECT_EQ(error_kind(store().webhook("b")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(store().webhook("c")), ErrorKind::not_found);
  claim(store());
  EXPECT_EQ(due_ids(), "");
  EXPECT_EQ(store().pending_webhooks(), 0U);
}

TEST_P(WebhookTest, IsDueWithEveryEndOfAJob) {
  for (const char* id : {"a", "b", "c", "d", "e"}) ASSERT_TRUE(submit(store(), with_webhook(id)));
  const auto a = claim(store());
  EXPECT_TRUE(finish(store(), end_of(a)));
  EXPECT_EQ(due_ids(), "a");
  EXPECT_EQ(store().webhook("a")->due_us, 3'000);
  const auto b = claim(store());
  EXPECT_EQ(cancel(store(), "b"), JobState::running);
  EXPECT_EQ(due_ids(), "a") << "it has not ended yet";
  EXPECT_TRUE(requeue(store(), "b", b.attempt));
  EXPECT_EQ(job("b").state, JobState::finished);
  EXPECT_EQ(cancel(store(), "c"), JobState::finished);
  const auto d = claim(store());
  EXPECT_TRUE(requeue(store(), "d", d.attempt));
  EXPECT_EQ(job("d").state, JobState::queued);
  EXPECT_EQ(due_ids(), "acb");  // the cancel's time is the test's, the requeue's the clock's
  EXPECT_EQ(store().pending_webhooks(), 3U);
}

TEST_P(WebhookTest, AJobWithoutOneMakesNothingDue) {
  ASSERT_TRUE(submit(store(), new_job("a")));
  ASSERT_TRUE(submit(store(), new_job("b")));
  EXPECT_TRUE(finish(store(), end_of(claim(store()))));
  EXPECT_EQ(cancel(store(), "b"), JobState::finished);
  EXPECT_EQ(due_ids(), "");
}

TEST_P(WebhookTest, AnEndThatIsRefusedMakesNothingDue) {
  ASSERT_TRUE(submit(store(), with_webhook("a")));
  auto late = end_of(claim(store()));
  late.attempt = 7;
  EXPECT_EQ(error_kind(finish(store(), late)), ErrorKind::conflict);
  EXPECT_EQ(due_ids(), "");
}

TEST_P(WebhookTest, AttemptsAreRecorded) {
  ASSERT_TRUE(submit(store(), with_webhook("a")));
  EXPECT_EQ(error_kind(record({"a", 5'000, 200, "", WebhookState::delivered, {}})), ErrorKind::not_found) << "not due yet";
  end("a", 3'000);
  ASSERT_TRUE(record({"a", 5'000, 500, "answered 500", WebhookState::pending, 9'000}));
  auto stored = *store().webhook("a");
  EXPECT_EQ(stored.state, WebhookState::pending);
  EXPECT_EQ(stored.attempts, 1);
  EXPECT_EQ(stored.attempted_us, 5'000);
  EXPECT_EQ(stored.last_status, 500);
  EXPECT_EQ(stored.last_error, "answered 500");
  EXPECT_EQ(stored.due_us, 9'000);
  EXPECT_NE(stored.webhook.secret, "");
  EXPECT_EQ(due_ids(8'999, 20'000), "");
  EXPECT_EQ(next(8'999, 20'000), 9'000);
  EXPECT_EQ(due_ids(9'000, 20'000), "a");

  ASSERT_TRUE(record({"a", 9'001, 204, "", WebhookState::delivered, {}}));
  stored = *store().webhook("a");
  EXPECT_EQ(stored.state, WebhookState::delivered);
  EXPECT_EQ(stored.attempts, 2);
  EXPECT_EQ(stored.last_status, 204);
  EXPECT_EQ(stored.last_error, "");
  EXPECT_EQ(stored.due_us, std::nullopt);
  EXPECT_EQ(stored.webhook.secret, "") << "nobody needs it any more";
  EXPECT_EQ(due_ids(), "");
  EXPECT_EQ(store().pending_webhooks(), 0U);
  EXPECT_EQ(error_kind(record({"a", 9'002, 200, "", WebhookState::delivered, {}})), ErrorKind::not_found);
}

TEST_P(WebhookTest, OneThatIsGivenUpIsNotDue) {
  ASSERT_TRUE(submit(store(), with_webhook("a")));
  end("a", 3'000);
  ASSERT_TRUE(record({"a", 5'000, {}, "cannot connect", WebhookState::failed, {}}));
  const auto stored = *store().webhook("a");
  EXPECT_EQ(stored.state, WebhookState::failed);
  EXPECT_EQ(stored.last_status, std::nullopt);
  EXPECT_EQ(due_ids(), "");
}

TEST_P(WebhookTest, GoesWithItsJob) {
  ASSERT_TRUE(submit(store(), with_webhook("a")));
  end("a", 3'000);
  ASSERT_TRUE(forget("a"));
  EXPECT_EQ(due_ids(), "");
  EXPECT_EQ(error_kind(store().webhook("a")), ErrorKind::not_found);
  EXPECT_EQ(error_kind(record({"a", 5'000, 200, "", WebhookState::delivered, {}})), ErrorKind::not_found);
  EXPECT_EQ(store().pending_webhooks(), 0U);
}

TEST_P(WebhookTest, TheLongestDueComeFirstAndNoOriginHasMoreThanItsShare) {
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(submit(store(), with_webhook(id, "https://slow")));
  for (const char* id : {"d", "e"}) ASSERT_TRUE(submit(store(), with_webhook(id, "https://other")));
  end("a", 5'000);
  end("b", 4'000);
  end("c", 3'000);
  end("d", 7'000);
  end("e", 6'000);
  EXPECT_EQ(due_ids(), "cbaed");
  EXPECT_EQ(share(3, 100), "cba");
  EXPECT_EQ(share(100, 2), "cbed");
  EXPECT_EQ(share(100, 2, {{"c", "https://slow"}}), "bed");
  EXPECT_EQ(share(100, 2, {{"c", "https://slow"}, {"x", "https://slow"}}), "ed");
  EXPECT_EQ(share(100, 100, {{"c", "https://slow"}, {"e", "https://other"}}), "bad");
}

TEST_P(WebhookTest, WhatNoClockExplainsIsDueNow) {
  for (const char* id : {"a", "b"}) ASSERT_TRUE(submit(store(), with_webhook(id)));
  end("a", 10'000);
  end("b", 20'000);
  EXPECT_EQ(due_ids(1'000, 15'000), "b") << "the clock was set back";
  EXPECT_EQ(next(1'000, 15'000), 10'000);
  EXPECT_EQ(next(1'000, 9'000), std::nullopt);
}

class WebhookFileTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open(std::function<void()> on_due = {}) {
    Options options;
    options.path = directory_.database();
    options.on_webhook_due = std::move(on_due);
    auto opened = Store::open(options);
    EXPECT_TRUE(opened) << opened.error().what;
    return opened ? std::move(*opened) : nullptr;
  }
  static std::size_t due(Store& store) { return store.due_webhooks({kLater, kLater, 100, 100, {}})->webhooks.size(); }
  TemporaryDirectory directory_;
};

TEST_F(WebhookFileTest, ANewStartFindsWhatIsDueAndEndsWhatWasCancelled) {
  auto store = open();
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(submit(*store, with_webhook(id)));
  ASSERT_TRUE(finish(*store, end_of(claim(*store))));
  EXPECT_EQ(claim(*store).id, "b");
  EXPECT_EQ(cancel(*store, "b"), JobState::running);
  EXPECT_EQ(claim(*store).id, "c");
  EXPECT_EQ(due(*store), 1U);
  store.reset();
  store = open();
  EXPECT_EQ(store->get("b")->state, JobState::finished);
  EXPECT_EQ(store->get("c")->state, JobState::queued);
  EXPECT_EQ(due(*store), 2U) << "c runs again";
}

TEST_F(WebhookFileTest, WhoeverDeliversIsToldOfWhatBecomesDueAndOfNothingElse) {
  std::atomic<int> told = 0;
  auto store = open([&] { ++told; });
  ASSERT_TRUE(submit(*store, with_webhook("a")));
  ASSERT_TRUE(submit(*store, new_job("b")));
  const auto a = claim(*store), b = claim(*store);
  ASSERT_TRUE(finish(*store, end_of(b)));
  auto late = end_of(a);
  late.attempt = 9;
  EXPECT_FALSE(finish(*store, late));
  EXPECT_EQ(told, 0);
  ASSERT_TRUE(finish(*store, end_of(a)));
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(submit(*store, with_webhook("c")));
  EXPECT_EQ(cancel(*store, "c"), JobState::finished);
  EXPECT_EQ(told, 2);
}

TEST_F(WebhookFileTest, ADatabaseFromBeforeWebhooksIsMigrated) {
  make_database(directory_.database(), 1,
                "INSERT INTO jobs (id, state, priority, created_us) VALUES ('old', 'queued', 0, 1);"
                "INSERT INTO requests (job_id, document) VALUES ('old', '{}')");
  const auto store = open();
  ASSERT_TRUE(store);
  EXPECT_TRUE(finish(*store, end_of(claim(*store))));
  EXPECT_EQ(store->get("old")->state, JobState::finished);
  ASSERT_TRUE(submit(*store, with_webhook("a")));
  ASSERT_TRUE(finish(*store, end_of(claim(*store))));
  EXPECT_EQ(due(*store), 1U);
}

TEST_F(WebhookFileTest, AJobThatIsLeftFromAnEarlierStartIsToldToo) {
  auto store = open();
  ASSERT_TRUE(submit(*store, with_webhook("a")));
  store.reset();
  store = open();
  ASSERT_TRUE(finish(*store, end_of(claim(*store))));
  EXPECT_EQ(due(*store), 1U);
}

}  // namespace
}  // namespace bailiff::storage::test
