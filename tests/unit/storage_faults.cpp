// What the disk, the file and a killed process can do to a store.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <functional>

#include "core/fd.h"
#include "storage_fixture.h"

namespace bailiff::storage::test {
namespace {

using core::ErrorKind;
using core::JobState;
using core::Verdict;
using testing::AssertionFailure;
using testing::AssertionResult;
using testing::AssertionSuccess;

core::Result<std::unique_ptr<Store>> open_at(const std::string& path) {
  Options options;
  options.path = path;
  options.busy_timeout_ms = 200;
  return Store::open(options);
}

class StoreFile : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_.database(); }
  std::unique_ptr<Store> open() {
    auto opened = open_at(path());
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().what);
    return opened ? std::move(*opened) : nullptr;
  }
  AssertionResult refused(const std::string& reason) {
    const auto opened = open_at(path());
    if (opened) return AssertionFailure() << "opened";
    const std::string& what = opened.error().what;
    if (what.find(path()) == std::string::npos || what.find(reason) == std::string::npos) return AssertionFailure() << what;
    return AssertionSuccess();
  }

  TemporaryDirectory directory_;
};

TEST_F(StoreFile, OpensAgainWithWhatWasRunningQueuedAndItsAttemptKept) {
  auto store = open();
  for (const char* id : {"a", "b", "c", "d"}) ASSERT_TRUE(submit(*store, new_job(id)));
  ASSERT_TRUE(finish(*store, end_of(claim(*store))));
  ASSERT_EQ(claim(*store).id, "b");
  ASSERT_EQ(claim(*store).id, "c");
  ASSERT_EQ(cancel(*store, "c"), JobState::running);
  store.reset();

  store = open();
  EXPECT_EQ(store->depth()->queued, 2U);
  EXPECT_EQ(store->depth()->running, 0U);
  EXPECT_EQ(store->get("a")->state, JobState::finished);
  EXPECT_EQ(store->get("b")->state, JobState::queued);
  EXPECT_EQ(store->get("b")->attempt, 1);
  EXPECT_EQ(store->get("b")->started_us, std::nullopt);
  EXPECT_EQ(store->get("c")->verdict, Verdict::cancelled);
  EXPECT_TRUE(store->get("c")->finished_us.has_value());
  const ClaimedJob again = claim(*store);
  EXPECT_EQ(again.id, "b");
  EXPECT_EQ(again.attempt, 2);
  EXPECT_EQ(error_kind(finish(*store, end_of({"b", "", 1, ""}))), ErrorKind::conflict);
}

TEST_F(StoreFile, IsItsOwnersAlone) {
  const auto store = open();
  ASSERT_TRUE(submit(*store, new_job("a")));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    EXPECT_EQ(entry.status().permissions() & std::filesystem::perms::all,
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
        << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 4);  // database, log, the log's index, lock
}

TEST_F(StoreFile, IsHeldByOneAtATime) {
  auto store = open();
  EXPECT_TRUE(refused("another process uses this database"));
  store->close();
  EXPECT_NE(open(), nullptr);
}

TEST_F(StoreFile, ANewerSchemaIsRefusedAndLeftAsItIs) {
  open().reset();
  SQLite::Database(path(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 99");
  EXPECT_TRUE(refused("schema 99"));
  EXPECT_EQ(SQLite::Database(path()).execAndGet("PRAGMA user_version").getInt(), 99);
}

TEST_F(StoreFile, AnotherProgramsDatabaseIsRefused) {
  SQLite::Database(path(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE bookmarks (url TEXT)");
  EXPECT_TRUE(refused("not one of Bailiff's"));
}

TEST_F(StoreFile, WhatIsNoDatabaseIsRefused) {
  std::ofstream(path()) << std::string(8'192, 'x');
  EXPECT_TRUE(refused("damaged"));
}

TEST_F(StoreFile, ADamagedDatabaseIsRefused) {
  auto store = open();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(submit(*store, new_job("job " + std::to_string(i))));
  store.reset();
  const auto size = std::filesystem::file_size(path());
  ASSERT_GT(size, 65'536U);
  std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
  for (std::uintmax_t at = 4'096; at + 4'096 <= size; at += 4'096) {  // every page but the first: whatever the tables are on
    file.seekp(static_cast<std::streamoff>(at));
    file << std::string(256, '\xAA');
  }
  file.close();
  EXPECT_TRUE(refused("damaged"));
}

TEST_F(StoreFile, ATruncatedDatabaseIsRefused) {
  auto store = open();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(submit(*store, new_job("job " + std::to_string(i))));
  store.reset();
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);
  EXPECT_TRUE(refused("damaged"));
}

/// Runs `body` in a child process and gives its exit status as waitpid(2) has it.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST_F(StoreFile, AReadOnlyDirectoryIsRefused) {
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0555), 0);
  const int status = in_child([this] {
    // Root writes wherever it likes: become somebody else.
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(65'534) != 0 || ::setuid(65'534) != 0)) return 2;
    return refused("") ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(StoreFile, AMissingDirectoryIsRefused) {
  const auto opened = open_at(path() + "/no/such/jobs.db");
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().what.find("no/such"), std::string::npos);
}

/// Submits until the disk refuses, proves that nothing of the refused writes is there, makes room, and proves that it works again.
void fill_and_recover(Store& store, const std::function<void()>& make_room) {
  std::vector<std::string> kept;
  std::string refused;
  ASSERT_TRUE(submit(store, new_job("0 runs", 10)));
  const ClaimedJob running = claim(store);
  for (int i = 1000; i < 3000 && refused.empty(); ++i) {
    NewJob job = new_job(std::to_string(i));
    job.request = std::string(20'000, 'x');
    const auto submitted = submit(store, job);
    if (submitted) {
      kept.push_back(job.id);
    } else {
      EXPECT_EQ(submitted.error().kind, ErrorKind::unavailable) << submitted.error().what;
      refused = job.id;
    }
  }
  ASSERT_FALSE(refused.empty()) << "the disk took everything";
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(error_kind(store.get(refused)), ErrorKind::not_found);
  Finish end = end_of(running);
  end.outputs = {{0, Stream::stdout_stream, std::string(3'000'000, 'y')}};
  EXPECT_EQ(error_kind(finish(store, end)), ErrorKind::unavailable);
  EXPECT_EQ(store.get(running.id)->state, JobState::running);
  EXPECT_EQ(store.depth()->queued, kept.size());
  {
    HeldWriter held(store);  // one transaction: what it holds is refused together
    NewJob large = new_job("large"), small = new_job("small");
    large.request = std::string(3'000'000, 'x');
    auto first = post_submit(store, small), second = post_submit(store, large);
    held.release();
    EXPECT_EQ(error_kind(answer(std::move(second))), ErrorKind::unavailable);
    const auto small_answer = answer(std::move(first));
    EXPECT_EQ(small_answer.has_value(), store.get("small").has_value());
  }
  make_room();
  EXPECT_TRUE(finish(store, end));
  EXPECT_EQ(store.output(running.id, 0, Stream::stdout_stream, 0, 1)->total_bytes, 3'000'000U);
  EXPECT_TRUE(submit(store, new_job(refused)));
  for (const std::string& id : kept) EXPECT_EQ(store.get(id)->state, JobState::queued);
}

/// A small disk of its own on a directory.
class SmallDisk {
 public:
  explicit SmallDisk(std::filesystem::path directory) : directory_(std::move(directory)) { mounted_ = mount("size=2m", 0); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    const int unmounted = mounted_ ? ::umount2(directory_.c_str(), MNT_DETACH) : 0;
    EXPECT_EQ(unmounted, 0);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }
  void grow() { EXPECT_TRUE(mount("size=200m", MS_REMOUNT)); }

 private:
  bool mount(const char* size, unsigned long flags) {
    return ::mount("none", directory_.c_str(), "tmpfs", flags | MS_NOSUID | MS_NODEV, size) == 0;
  }
  std::filesystem::path directory_;
  bool mounted_ = false;
};

TEST_F(StoreFile, AFullDiskRefusesWritesWithNothingHalfDoneAndWorksAgainByItself) {
  SmallDisk disk(directory_.path());
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs needs CAP_SYS_ADMIN";
  auto store = open();
  ASSERT_NE(store, nullptr);
  fill_and_recover(*store, [&disk] { disk.grow(); });
  store.reset();
  store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->get("0 runs")->state, JobState::finished);
}

TEST_F(StoreFile, AnInputOutputErrorRefusesWritesWithNothingHalfDoneAndWorksAgainByItself) {
  auto store = open();
  // A write beyond the file-size limit fails with EFBIG, which SQLite takes for any other I/O error.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{2U << 20, before.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  fill_and_recover(*store, [&] { EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0); });
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  store.reset();
  store = open();
  EXPECT_EQ(store->get("0 runs")->state, JobState::finished);
}

TEST_F(StoreFile, AWriterThatAnotherProcessBlocksAnswersUnavailableAndWorksAgain) {
  auto store = open();
  SQLite::Database other(path(), SQLite::OPEN_READWRITE);
  other.exec("BEGIN IMMEDIATE");
  EXPECT_EQ(error_kind(submit(*store, new_job("a"))), ErrorKind::unavailable);
  EXPECT_TRUE(store->list({}).has_value());
  other.exec("ROLLBACK");
  EXPECT_TRUE(submit(*store, new_job("a")));
}

// In the child: submits with many in flight, claims and finishes now and then, and writes each id to the pipe once it is acknowledged.
[[noreturn]] void submit_for_ever(const std::string& path, int acknowledged) {
  auto store = open_at(path);
  if (!store) ::_exit(1);
  for (int round = 0;; ++round) {
    std::array<std::future<core::Result<Submitted>>, 16> answers;
    for (std::size_t i = 0; i < answers.size(); ++i)
      answers.at(i) = post_submit(**store, new_job(std::to_string(round * 16 + static_cast<int>(i))));
    for (auto& one : answers) {
      const auto submitted = answer(std::move(one));
      if (!submitted) ::_exit(1);
      const std::string line = submitted->id + "\n";
      if (::write(acknowledged, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(1);
    }
    const ClaimedJob job = claim(**store);
    if (round % 2 == 0 && !finish(**store, end_of(job))) ::_exit(1);
  }
}

TEST_F(StoreFile, WhatWasAcknowledgedBeforeAKillIsThere) {
  for (const std::size_t kill_after_bytes : {200U, 3'000U, 20'000U}) {
    std::filesystem::remove(path());
    std::filesystem::remove(path() + "-wal");
    std::filesystem::remove(path() + "-shm");
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    core::Fd read_end(ends[0]), write_end(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) submit_for_ever(path(), write_end.get());
    write_end.reset();
    std::string text;
    std::array<char, 4'096> buffer{};
    bool killed = false;
    for (ssize_t got = 0; (got = ::read(read_end.get(), buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
      if (text.size() < kill_after_bytes || std::exchange(killed, true)) continue;
      EXPECT_EQ(::kill(child, SIGKILL), 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;

    auto store = open();
    std::size_t acknowledged = 0;
    for (std::size_t start = 0, end = 0; (end = text.find('\n', start)) != std::string::npos; start = end + 1, ++acknowledged) {
      const auto job = store->get(text.substr(start, end - start));
      ASSERT_TRUE(job.has_value()) << job.error().what;
      EXPECT_NE(job->state, JobState::running);
    }
    EXPECT_GT(acknowledged, 40U);
    EXPECT_EQ(store->depth()->running, 0U);
  }
}

}  // namespace
}  // namespace bailiff::storage::test
