#include "storage/backup.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/unit/storage_fixture.h"

namespace bailiff::storage::test {
namespace {

class BackupTest : public testing::Test {
 protected:
  static std::unique_ptr<Store> open(const std::string& path) {
    Options options;
    options.path = path;
    auto opened = Store::open(options);
    EXPECT_TRUE(opened) << opened.error().what;
    return opened ? std::move(*opened) : nullptr;
  }
  core::Result<std::uint64_t> back_up() { return storage::back_up({directory_.database(), copy_, {}, {}, {}}); }

  TemporaryDirectory directory_;
  const std::string copy_ = directory_.path() / "copy.db";
};

TEST_F(BackupTest, ACopyOfADatabaseInUseIsWholeAndOpens) {
  auto store = open(directory_.database());
  ASSERT_TRUE(submit(*store, new_job("a")));
  ASSERT_TRUE(finish(*store, end_of(claim(*store))));
  ASSERT_TRUE(submit(*store, new_job("b")));
  claim(*store);
  std::uint64_t told = 0;
  const auto bytes = storage::back_up({directory_.database(), copy_, {}, {}, [&](std::uint64_t done, std::uint64_t all) {
                                         EXPECT_LE(done, all);
                                         told = all;
                                       }});
  ASSERT_TRUE(bytes) << bytes.error().what;
  EXPECT_EQ(*bytes, std::filesystem::file_size(copy_));
  EXPECT_LE(told, *bytes);
  ASSERT_TRUE(submit(*store, new_job("c")));

  const auto restored = open(copy_);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->get("a")->state, core::JobState::finished);
  EXPECT_EQ(restored->get("b")->state, core::JobState::queued);  // it ran: as after a crash, it runs again
  EXPECT_EQ(error_kind(restored->get("c")), core::ErrorKind::not_found);
}

TEST_F(BackupTest, WritesGoOnMeanwhileAndTheCopyIsOneMoment) {
  auto store = open(directory_.database());
  std::atomic<bool> done = false;
  std::atomic<int> written = 0;
  std::thread writer([&] {
    // Each batch is one transaction of two jobs: a copy that has one of them has the other.
    for (int i = 0; !done; ++i) {
      const auto number = std::to_string(1'000'000 + i);
      std::vector<NewJob> pair = {new_job(number + "a"), new_job(number + "b")};
      for (auto& job : pair) job.request.resize(20'000, 'x');
      const auto stored = answer(posted<std::vector<Submitted>>(
          [&](Callback<std::vector<Submitted>> reply) { store->submit_all(std::move(pair), std::move(reply)); }));
      ASSERT_TRUE(stored);
      written = i + 1;
    }
  });
  while (written < 50) std::this_thread::yield();
  const int before = written;
  const auto bytes = back_up();
  done = true;
  writer.join();
  ASSERT_TRUE(bytes) << bytes.error().what;
  const auto queued = open(copy_)->depth()->queued;
  EXPECT_EQ(queued % 2, 0U);
  EXPECT_GE(queued, 2U * static_cast<unsigned>(before));
}

TEST_F(BackupTest, WhatIsThereIsNotOverwrittenAndWhatFailsLeavesNothing) {
  EXPECT_EQ(error_kind(back_up()), core::ErrorKind::unavailable);  // no database
  EXPECT_FALSE(std::filesystem::exists(copy_));
  std::ofstream(directory_.database()) << "no database at all, but as long as the header of one would have to be to be looked at";
  EXPECT_TRUE(error_kind(back_up()));
  EXPECT_FALSE(std::filesystem::exists(copy_));
  std::filesystem::remove(directory_.database());
  SQLite::Database(directory_.database(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE jobs (id)");
  EXPECT_EQ(error_kind(back_up()), core::ErrorKind::invalid);
  EXPECT_FALSE(std::filesystem::exists(copy_));

  std::filesystem::remove(directory_.database());
  auto store = open(directory_.database());
  std::ofstream(copy_) << "mine";
  EXPECT_EQ(error_kind(back_up()), core::ErrorKind::conflict);
  EXPECT_EQ(std::filesystem::file_size(copy_), 4U);
}

TEST_F(BackupTest, RootReadsAsTheOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "missing host capability: root";
  auto store = open(directory_.database());
  ASSERT_TRUE(submit(*store, new_job("a")));
  // The directory is root's: whoever reads it as somebody else cannot.
  Backup backup{directory_.database(), copy_, 65534, 65534, {}};
  EXPECT_EQ(error_kind(storage::back_up(backup)), core::ErrorKind::unavailable);
  EXPECT_EQ(::geteuid(), 0U);
  EXPECT_EQ(::getegid(), 0U);
  EXPECT_FALSE(std::filesystem::exists(copy_));
  backup.reader_uid = 0;
  backup.reader_gid = 0;
  EXPECT_TRUE(storage::back_up(backup));
}

}  // namespace
}  // namespace bailiff::storage::test
