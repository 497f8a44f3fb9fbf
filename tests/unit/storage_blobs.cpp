// Blobs and artifacts in the store: pieces, owners, what keeps a blob, what goes with a job.
#include "storage/blob_tables.h"
#include "storage_fixture.h"

namespace bailiff::storage {
namespace {

using core::ErrorKind;
using test::answer;
using test::posted;
using test::StoreTest;

class BlobStoreTest : public StoreTest {
 protected:
  core::Result<std::int64_t> begin(const std::string& owner, const std::string& digest, std::uint64_t bytes,
                                   std::uint64_t most = 1'000'000) {
    return answer(posted<std::int64_t>([&](Callback<std::int64_t> done) {
      NewBlob blob;
      blob.owner = owner;
      blob.digest = digest;
      blob.bytes = bytes;
      blob.now_us = 100;
      blob.most_bytes = most;
      store().begin_blob(std::move(blob), std::move(done));
    }));
  }
  core::Status add(std::int64_t upload, std::uint64_t offset, const std::string& bytes) {
    return answer(posted<void>([&](Callback<void> done) { store().add_blob_piece(upload, offset, bytes, std::move(done)); }));
  }
  core::Status end(std::int64_t upload) {
    return answer(posted<void>([&](Callback<void> done) { store().end_blob(upload, std::move(done)); }));
  }
  void put(const std::string& owner, const std::string& digest, const std::string& bytes) {
    const auto upload = begin(owner, digest, bytes.size());
    ASSERT_TRUE(upload);
    ASSERT_TRUE(add(*upload, 0, bytes));
    ASSERT_TRUE(end(*upload));
  }
  bool has(const std::string& owner, const std::string& digest) { return store().blob(owner, digest, 0, 0).has_value(); }
  std::size_t forget(std::int64_t before_us, int most = 10) {
    return answer(posted<std::size_t>([&](Callback<std::size_t> done) { store().forget_blobs(before_us, most, std::move(done)); })).value();
  }
  core::Result<Submitted> submit_with(const std::string& owner, const std::string& id, std::vector<std::string> blobs) {
    auto job = test::new_job(id);
    job.owner = owner;
    job.blobs = std::move(blobs);
    return test::submit(store(), std::move(job));
  }
};
INSTANTIATE_TEST_SUITE_P(Store, BlobStoreTest, testing::Bool());

TEST_P(BlobStoreTest, ComesInPiecesAndIsReadInSlices) {
  std::string bytes;
  for (std::size_t i = 0; i < 3 * kPieceBytes + 5; ++i) bytes += static_cast<char>('a' + i % 23);
  const auto upload = begin("a", "d", bytes.size());
  ASSERT_TRUE(upload);
  for (std::size_t offset = 0; offset < bytes.size(); offset += 2 * kPieceBytes)
    ASSERT_TRUE(add(*upload, offset, bytes.substr(offset, 2 * kPieceBytes)));
  EXPECT_FALSE(has("a", "d")) << "it is there when it has ended";
  ASSERT_TRUE(end(*upload));
  const auto slice = store().blob("a", "d", kPieceBytes - 3, kPieceBytes + 10);
  ASSERT_TRUE(slice);
  EXPECT_EQ(slice->bytes, bytes.substr(kPieceBytes - 3, kPieceBytes + 10));
  EXPECT_EQ(slice->total_bytes, bytes.size());
  EXPECT_EQ(store().blob("a", "d", 0, ~std::uint64_t{0})->bytes, bytes);
  EXPECT_EQ(store().blob("a", "d", bytes.size(), 10)->bytes, "");
}

TEST_P(BlobStoreTest, IsItsOwnersAlone) {
  put("a", "d", "x");
  EXPECT_TRUE(has("a", "d"));
  EXPECT_FALSE(has("b", "d"));
  EXPECT_FALSE(has("", "d"));
  EXPECT_EQ(test::error_kind(submit_with("b", "1", {"d"})), ErrorKind::invalid);
  EXPECT_EQ(test::error_kind(store().get("1")), ErrorKind::not_found) << "nothing of it is stored";
  put("b", "d", "x");
  EXPECT_TRUE(submit_with("b", "1", {"d"}));
}

TEST_P(BlobStoreTest, TheSameTwiceIsOne) {
  put("a", "d", "x");
  const auto upload = begin("a", "d", 1);
  ASSERT_TRUE(add(*upload, 0, "x"));
  EXPECT_EQ(test::error_kind(end(*upload)), ErrorKind::conflict);
}

TEST_P(BlobStoreTest, WhatHasNotItsBytesDoesNotEnd) {
  const auto upload = begin("a", "d", 3);
  ASSERT_TRUE(add(*upload, 0, "xy"));
  EXPECT_FALSE(end(*upload));
  EXPECT_FALSE(has("a", "d"));
}

TEST_P(BlobStoreTest, TheBytesOfAllAreBounded) {
  put("a", "d", std::string(600, 'x'));
  EXPECT_EQ(test::error_kind(begin("b", "e", 401, 1000)), ErrorKind::conflict);
  const auto fits = begin("b", "e", 400, 1000);
  ASSERT_TRUE(fits);
  EXPECT_EQ(test::error_kind(begin("b", "f", 1, 1000)), ErrorKind::conflict) << "what is under way counts";
  ASSERT_TRUE(answer(posted<void>([&](Callback<void> done) { store().drop_blob(*fits, std::move(done)); })));
  EXPECT_TRUE(begin("b", "f", 400, 1000));
  EXPECT_EQ(test::error_kind(begin("b", "g", ~std::uint64_t{0}, 1000)), ErrorKind::conflict);
}

TEST_P(BlobStoreTest, AJobKeepsWhatItNeeds) {
  put("a", "d", "x");
  put("a", "e", "y");
  ASSERT_TRUE(submit_with("a", "1", {"d", "d"}));
  EXPECT_EQ(forget(1'000'000'000), 1U);
  EXPECT_TRUE(has("a", "d"));
  EXPECT_FALSE(has("a", "e"));
  ASSERT_TRUE(test::finish(store(), test::end_of(test::claim(store()))));
  EXPECT_EQ(forget(1'000'000'000), 0U) << "it is shown, and could be run again";
  ASSERT_TRUE(answer(posted<void>([&](Callback<void> done) { store().forget("1", std::move(done)); })));
  EXPECT_EQ(forget(100), 0U) << "a submit is a use";
  EXPECT_EQ(forget(1'001), 1U);
}

TEST_P(BlobStoreTest, UseKeepsItForAWhile) {
  put("a", "d", "x");
  const auto use = [&](const char* digest) {
    return answer(posted<bool>([&](Callback<bool> done) { store().use_blob("a", digest, 500, std::move(done)); })).value();
  };
  EXPECT_TRUE(use("d"));
  EXPECT_FALSE(use("e"));
  EXPECT_EQ(forget(500), 0U);
  EXPECT_EQ(forget(501), 1U);
}

TEST_P(BlobStoreTest, ArtifactsGoWithTheirJob) {
  ASSERT_TRUE(test::submit(store(), test::new_job("1")));
  auto end = test::end_of(test::claim(store()));
  const std::string large(kPieceBytes + 1, 'z');
  end.artifacts = {{"a", ""}, {"b/c", large}};
  ASSERT_TRUE(test::finish(store(), end));
  EXPECT_EQ(store().artifact("1", "a", 0, 10)->total_bytes, 0U);
  EXPECT_EQ(store().artifact("1", "b/c", 1, ~std::uint64_t{0} - 1)->bytes, large.substr(1));
  EXPECT_EQ(test::error_kind(store().artifact("1", "b", 0, 1)), ErrorKind::not_found);
  ASSERT_TRUE(answer(posted<void>([&](Callback<void> done) { store().forget("1", std::move(done)); })));
  EXPECT_EQ(test::error_kind(store().artifact("1", "a", 0, 1)), ErrorKind::not_found);
}

TEST(BlobUploads, ThatWereCutOffAreGoneAtTheNextStart) {
  const test::TemporaryDirectory directory;
  Options options;
  options.path = directory.database();
  const auto begin = [](Store& store) {
    return answer(posted<std::int64_t>([&](Callback<std::int64_t> done) {
      store.begin_blob({.owner = "", .digest = "d", .bytes = 10, .now_us = 1, .most_bytes = 10}, std::move(done));
    }));
  };
  auto store = std::move(*Store::open(options));
  ASSERT_TRUE(begin(*store));
  EXPECT_FALSE(begin(*store));
  store.reset();
  store = std::move(*Store::open(options));
  EXPECT_TRUE(begin(*store));
}

}  // namespace
}  // namespace bailiff::storage
