// API keys in the store; whose job a claim takes; what an owner's list has.
#include <SQLiteCpp/SQLiteCpp.h>

#include "storage_fixture.h"

namespace bailiff::storage {
namespace {

using core::ErrorKind;
using test::StoreTest;

class KeyStoreTest : public StoreTest {
 protected:
  AccessKey add(const std::string& name, KeyScopes scopes, std::int64_t created_us) {
    auto made = make_access_key();
    EXPECT_TRUE(made);
    made->key.name = name;
    made->key.scopes = scopes;
    made->key.weight = 3;
    made->key.max_queued = 10;
    made->key.max_running = 2;
    made->key.max_stored_bytes = 1ULL << 40;
    made->key.max_cpu_ms_per_hour = 77;
    made->key.created_us = created_us;
    EXPECT_TRUE(test::answer(test::posted<void>([&](Callback<void> done) { store().add_key(made->key, std::move(done)); })));
    return made->key;
  }
  core::Status revoke(const std::string& id, std::int64_t now_us) {
    return test::answer(test::posted<void>([&](Callback<void> done) { store().revoke_key(id, now_us, std::move(done)); }));
  }
  void submit_for(const std::string& owner, const std::string& id, int priority = 0) {
    auto job = test::new_job(id, priority);
    job.owner = owner;
    ASSERT_TRUE(test::submit(store(), std::move(job)));
  }
  /// The id of the job that is claimed when `owner` is picked, and those that were to choose from.
  std::string claim_of(std::optional<std::string> owner, std::vector<std::string>* owners = nullptr) {
    auto claimed = test::answer(test::posted<std::optional<ClaimedJob>>([&](Callback<std::optional<ClaimedJob>> done) {
      store().claim(
          2'000,
          [owner, owners](const std::vector<std::string>& all) {
            if (owners != nullptr) *owners = all;
            return owner;
          },
          std::move(done));
    }));
    EXPECT_TRUE(claimed);
    if (!claimed || !*claimed) return "";
    EXPECT_EQ((*claimed)->owner, owner);
    return (*claimed)->id;
  }
};
INSTANTIATE_TEST_SUITE_P(Store, KeyStoreTest, testing::Bool());

TEST_P(KeyStoreTest, KeysComeBackAsTheyWere) {
  const auto second = add("b", {true, true, false}, 20), first = add("a", {false, false, true}, 10);
  const auto keys = store().keys();
  ASSERT_TRUE(keys);
  ASSERT_EQ(keys->size(), 2U);
  EXPECT_EQ((*keys)[0].id, first.id);
  EXPECT_EQ((*keys)[0].scopes, first.scopes);
  EXPECT_EQ((*keys)[1].name, "b");
  EXPECT_EQ((*keys)[1].scopes, second.scopes);
  EXPECT_EQ((*keys)[1].digest, second.digest);
  EXPECT_EQ((*keys)[1].weight, 3U);
  EXPECT_EQ((*keys)[1].max_queued, 10U);
  EXPECT_EQ((*keys)[1].max_running, 2U);
  EXPECT_EQ((*keys)[1].max_stored_bytes, 1ULL << 40);
  EXPECT_EQ((*keys)[1].max_cpu_ms_per_hour, 77U);
  EXPECT_EQ((*keys)[1].created_us, 20);
  EXPECT_FALSE((*keys)[1].revoked_us);
}

TEST_P(KeyStoreTest, ARevokedKeyStaysWithItsTime) {
  const auto key = add("a", {true, true, true}, 10);
  ASSERT_TRUE(revoke(key.id, 30));
  ASSERT_TRUE(revoke(key.id, 40));
  EXPECT_EQ(store().keys()->at(0).revoked_us, 30);
  EXPECT_EQ(test::error_kind(revoke("nobody", 30)), ErrorKind::not_found);
}

TEST_P(KeyStoreTest, TheSameKeyTwiceIsAConflict) {
  const auto key = add("a", {true, true, true}, 10);
  const auto again = test::answer(test::posted<void>([&](Callback<void> done) { store().add_key(key, std::move(done)); }));
  EXPECT_EQ(test::error_kind(again), ErrorKind::conflict);
}

TEST_P(KeyStoreTest, AClaimTakesFromTheOwnerThatIsPicked) {
  submit_for("b", "1");
  submit_for("a", "2");
  submit_for("a", "3", 5);
  submit_for("", "4");
  std::vector<std::string> owners;
  EXPECT_EQ(claim_of("a", &owners), "3");
  EXPECT_EQ(owners, (std::vector<std::string>{"", "a", "b"}));
  EXPECT_EQ(claim_of(std::nullopt), "");
  EXPECT_EQ(claim_of("a"), "2");
  EXPECT_EQ(claim_of("b", &owners), "1");
  EXPECT_EQ(owners, (std::vector<std::string>{"", "b"}));
  EXPECT_EQ(store().queued_by_owner().value(), (std::map<std::string, std::uint64_t>{{"", 1}}));
  EXPECT_EQ(store().owner("3").value(), "a");
  EXPECT_EQ(test::error_kind(store().owner("9")), ErrorKind::not_found);
  EXPECT_EQ(job("1").owner, "b");
}

TEST_P(KeyStoreTest, WhatAnOwnerTakesIsKnown) {
  constexpr std::int64_t kHour = kHourUs, kLater = 5 * kHourUs;
  const auto request_bytes = test::new_job("1").request.size();
  submit_for("a", "1");
  submit_for("a", "2");
  submit_for("b", "3");
  submit_for("", "4");
  EXPECT_EQ(store().use_of("a", 0)->stored_bytes, 2 * request_bytes);
  const auto end = [&](const std::string& owner, std::int64_t at_us, std::int64_t cpu_us) {
    auto claimed = test::answer(test::posted<std::optional<ClaimedJob>>([&](Callback<std::optional<ClaimedJob>> done) {
      store().claim(2'000, [owner](const auto&) { return std::optional(owner); }, std::move(done));
    }));
    ASSERT_TRUE(claimed && *claimed);
    Finish finish = test::end_of(**claimed);
    finish.finished_us = at_us;
    finish.cpu_us = cpu_us;
    finish.outputs = {{0, Stream::stdout_stream, "12345"}};
    finish.artifacts = {{"x", "123"}};
    ASSERT_TRUE(test::finish(store(), std::move(finish)));
  };
  end("a", kHour + 5, 30);
  end("a", 2 * kHour - 1, 40);
  end("", kHour, 50);
  EXPECT_EQ(store().use_of("a", kHour)->cpu_us, 70U);
  EXPECT_EQ(store().use_of("a", 2 * kHour)->cpu_us, 0U);
  EXPECT_EQ(store().use_of("a", kHour)->stored_bytes, 2 * (request_bytes + 2 + 5 + 3));
  EXPECT_EQ(store().use_of("", kHour)->cpu_us + store().use_of("", kHour)->stored_bytes, 0U);
  EXPECT_EQ(store().use_of("nobody", kHour)->stored_bytes, 0U);
  submit_for("a", "5");
  end("a", kLater, 9);
  EXPECT_EQ(store().use_of("a", kLater)->cpu_us, 9U);
  for (const auto* id : {"1", "2"})
    ASSERT_TRUE(test::answer(test::posted<void>([&](Callback<void> done) { store().forget(id, std::move(done)); })));
  EXPECT_EQ(store().use_of("a", kLater)->stored_bytes, request_bytes + 10);
  EXPECT_EQ(store().use_of("b", kLater)->stored_bytes, request_bytes);
}

TEST_P(KeyStoreTest, TheOldestOfAllOwnersIsFound) {
  submit_for("b", "1", -5);
  submit_for("a", "2", 3);
  submit_for("a", "3", 5);
  auto oldest = test::new_job("0", 9);
  oldest.owner = "c";
  oldest.created_us = 7;
  ASSERT_TRUE(test::submit(store(), std::move(oldest)));
  EXPECT_EQ(store().oldest_queued_us().value(), 7);
  EXPECT_EQ(claim_of("c"), "0");
  EXPECT_EQ(store().oldest_queued_us().value(), 1'000);
}

TEST_P(KeyStoreTest, AListOfAnOwnerHasItsJobsAlone) {
  submit_for("a", "1");
  submit_for("b", "2");
  submit_for("a", "3");
  auto labelled = test::new_job("4");
  labelled.owner = "a";
  labelled.labels = {{"k", "v"}};
  ASSERT_TRUE(test::submit(store(), labelled));
  labelled.id = "5";
  labelled.owner = "b";
  ASSERT_TRUE(test::submit(store(), labelled));
  EXPECT_EQ(claim_of("a"), "1");
  const auto ids = [&](ListQuery query) {
    std::string text;
    const auto jobs = store().list(query);
    EXPECT_TRUE(jobs);
    if (jobs) {
      for (const auto& found : *jobs) text += found.id;
    }
    return text;
  };
  ListQuery query;
  query.owner = "a";
  EXPECT_EQ(ids(query), "431");
  query.state = core::JobState::queued;
  EXPECT_EQ(ids(query), "43");
  query.state = core::JobState::running;
  EXPECT_EQ(ids(query), "1");
  query.state.reset();
  query.labels = {{"k", "v"}};
  EXPECT_EQ(ids(query), "4");
  query.labels.clear();
  query.before_id = "3";
  EXPECT_EQ(ids(query), "1");
  query.owner = "nobody";
  EXPECT_EQ(ids(query), "");
}

TEST(AccessKeyText, IsNoOthers) {
  const auto one = make_access_key(), two = make_access_key();
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->text, two->text);
  EXPECT_EQ(key_id_of(one->text), one->key.id);
  EXPECT_TRUE(is_text_of(one->key, one->text));
  EXPECT_FALSE(is_text_of(one->key, two->text));
  auto changed = one->text;
  changed.back() = changed.back() == '0' ? '1' : '0';
  EXPECT_FALSE(is_text_of(one->key, changed));
  EXPECT_FALSE(is_text_of(AccessKey{}, ""));
}

TEST(AccessKeyText, HasOneShape) {
  const auto good = make_access_key()->text;
  for (const auto& wrong : {std::string(), good + "0", good.substr(1), "Bailiff" + good.substr(7), good.substr(0, good.size() - 1) + "G",
                            good.substr(0, 24) + "-" + good.substr(25), std::string(good.size(), '\0')})
    EXPECT_FALSE(key_id_of(wrong)) << wrong;
}

// What a database of the first schema had is there after the step to this one.
TEST(KeyMigration, WhatOwnersHadStoredIsCounted) {
  const test::TemporaryDirectory directory;
  test::make_database(directory.database(), 4, R"sql(
    INSERT INTO jobs (id, state, priority, created_us, owner) VALUES ('1', 'queued', 0, 1, 'a'), ('2', 'queued', 0, 1, '');
    INSERT INTO requests VALUES ('1', '{"ä":1}'), ('2', '{}');
    INSERT INTO outputs VALUES ('1', 0, 'stdout', 0, x'010203'), ('1', 0, 'stdout', 3, x'04');
    INSERT INTO blobs (owner, digest, bytes, used_us, whole) VALUES ('a', 'sha256:0', 100, 1, 1), ('', 'sha256:0', 100, 1, 1);)sql");
  Options options;
  options.path = directory.database();
  auto store = Store::open(options);
  ASSERT_TRUE(store) << store.error().what;
  EXPECT_EQ((*store)->use_of("a", 0)->stored_bytes, std::string(R"({"ä":1})").size() + 4 + 100);
  EXPECT_EQ((*store)->use_of("", 0)->stored_bytes, 0U);
}

TEST(KeyMigration, TheQueueOfTheFirstSchemaGoesOn) {
  const test::TemporaryDirectory directory;
  Options options;
  options.path = directory.database();
  test::make_database(options.path, 1,
                      "INSERT INTO jobs (id, state, priority, created_us) VALUES ('a', 'queued', 1, 1), ('b', 'queued', 2, 1);"
                      "INSERT INTO requests (job_id, document) VALUES ('a', '{}'), ('b', '{}')");
  auto store = std::move(*Store::open(options));
  EXPECT_EQ(test::claim(*store).id, "b");
  EXPECT_EQ(test::claim(*store).id, "a");
  EXPECT_EQ(store->get("a")->owner, "");
}

}  // namespace
}  // namespace bailiff::storage
