#pragma once
// A store on a directory of its own, called as if it were synchronous.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "storage/schema.h"
#include "storage/store.h"

namespace bailiff::storage::test {

inline constexpr std::chrono::seconds kDeadline{60};  // nothing here takes as long; a write that is never answered fails its test

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "bailiff-storage-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string database() const { return path_ / "jobs.db"; }

 private:
  std::filesystem::path path_;
};

/// A database of an earlier schema, with what `sql` puts into it.
inline void make_database(const std::string& path, int version, const std::string& sql) {
  SQLite::Database database(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  for (int next = 1; next <= version; ++next) database.exec(migration(next));
  database.exec("PRAGMA application_id = 1113680236; PRAGMA user_version = " + std::to_string(version));
  database.exec(sql);
}

/// Posts a write and gives the future of its answer.
template <class T, class Post>
std::future<core::Result<T>> posted(Post post) {
  auto promise = std::make_shared<std::promise<core::Result<T>>>();
  auto future = promise->get_future();
  post([promise](core::Result<T> result) { promise->set_value(std::move(result)); });
  return future;
}

template <class T>
core::Result<T> answer(std::future<core::Result<T>> future) {
  if (future.wait_for(kDeadline) != std::future_status::ready) return core::error(core::ErrorKind::internal, "no answer in time");
  return future.get();
}

inline NewJob new_job(std::string id, int priority = 0) {
  NewJob job;
  job.id = std::move(id);
  job.priority = priority;
  job.created_us = 1'000;
  job.request = R"({"source":")" + job.id + R"("})";
  return job;
}

inline std::future<core::Result<Submitted>> post_submit(Store& store, NewJob job) {
  return posted<Submitted>([&](Callback<Submitted> done) { store.submit(std::move(job), std::move(done)); });
}
inline core::Result<Submitted> submit(Store& store, NewJob job) { return answer(post_submit(store, std::move(job))); }

inline std::future<core::Result<std::optional<ClaimedJob>>> post_claim(Store& store, std::int64_t now_us = 2'000) {
  return posted<std::optional<ClaimedJob>>([&](Callback<std::optional<ClaimedJob>> done) {
    store.claim(now_us, [](const auto& owners) { return std::optional(owners.front()); }, std::move(done));
  });
}
/// The claimed job; its id is empty where the queue was.
inline ClaimedJob claim(Store& store, std::int64_t now_us = 2'000) {
  auto claimed = answer(post_claim(store, now_us));
  EXPECT_TRUE(claimed.has_value());
  return claimed && *claimed ? **claimed : ClaimedJob{};
}

inline Finish end_of(const ClaimedJob& job, core::Verdict verdict = core::Verdict::ok) {
  Finish finish;
  finish.id = job.id;
  finish.attempt = job.attempt;
  finish.verdict = verdict;
  finish.result = "{}";
  finish.finished_us = 3'000;
  return finish;
}
inline std::future<core::Status> post_finish(Store& store, Finish finish) {
  return posted<void>([&](Callback<void> done) { store.finish(std::move(finish), std::move(done)); });
}
inline core::Status finish(Store& store, Finish end) { return answer(post_finish(store, std::move(end))); }
inline core::Result<core::JobState> requeue(Store& store, const std::string& id, int attempt) {
  return answer(posted<core::JobState>([&](Callback<core::JobState> done) { store.requeue(id, attempt, std::move(done)); }));
}
inline core::Result<core::JobState> cancel(Store& store, const std::string& id) {
  auto cancelled = answer(posted<Cancelled>([&](Callback<Cancelled> done) { store.cancel(id, 4'000, std::move(done)); }));
  if (!cancelled) return std::unexpected(std::move(cancelled.error()));
  return cancelled->state;
}

template <class T>
std::optional<core::ErrorKind> error_kind(const core::Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().kind);
}

/// Holds the writer thread inside a callback, so that what is posted meanwhile comes into one batch.
class HeldWriter {
 public:
  explicit HeldWriter(Store& store) {
    store.cancel("no such job", 0, [this](const core::Result<Cancelled>&) {
      entered_.set_value();
      release_.get_future().wait_for(kDeadline);
    });
    EXPECT_EQ(entered_.get_future().wait_for(kDeadline), std::future_status::ready);
  }
  HeldWriter(const HeldWriter&) = delete;
  HeldWriter& operator=(const HeldWriter&) = delete;
  ~HeldWriter() { release(); }
  void release() {
    if (!std::exchange(released_, true)) release_.set_value();
  }

 private:
  std::promise<void> entered_, release_;
  bool released_ = false;
};

/// A store in memory (`GetParam() == false`) or in a file.
class StoreTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { open(); }
  void open() {
    store_.reset();
    Options options;
    options.path = GetParam() ? directory_.database() : ":memory:";
    auto opened = Store::open(options);
    ASSERT_TRUE(opened.has_value()) << opened.error().what;
    store_ = std::move(*opened);
  }
  [[nodiscard]] Store& store() { return *store_; }
  StoredJob job(const std::string& id) {
    auto found = store().get(id);
    EXPECT_TRUE(found.has_value());
    return found ? *found : StoredJob{};
  }
  std::pair<std::uint64_t, std::uint64_t> depth() {
    const auto depth = store().depth();
    return {depth->queued, depth->running};
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Store> store_;
};

}  // namespace bailiff::storage::test
