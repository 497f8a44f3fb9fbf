#include "server/retention.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <future>

#include "core/id.h"

namespace bailiff::server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class RetentionTest : public ::testing::Test {
 protected:
  RetentionTest() {
    storage::Options options;
    options.path = ":memory:";
    store_ = std::move(*storage::Store::open(options));
  }
  ~RetentionTest() override { store_->close(); }

  template <class T, class Post>
  T answer(Post post) {
    std::promise<T> promise;
    post([&](core::Result<T> result) { promise.set_value(std::move(result.value())); });
    return promise.get_future().get();
  }
  /// A job made and ended so long ago; one without an end is queued.
  std::string job(seconds made_ago, std::optional<seconds> ended_ago) {
    const auto now = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    storage::NewJob made;
    made.id = core::first_job_id_of(static_cast<std::uint64_t>((now - made_ago).count()));
    made.id.back() = static_cast<char>('0' + ++made_);
    const auto id = made.id;
    answer<storage::Submitted>([&](auto done) { store_->submit(made, done); });
    if (!ended_ago) return id;
    const auto claimed = answer<std::optional<storage::ClaimedJob>>(
        [&](auto done) { store_->claim(0, [](const auto& owners) { return std::optional(owners.front()); }, done); });
    EXPECT_EQ(claimed->id, id);
    storage::Finish end;
    end.id = id;
    end.attempt = claimed->attempt;
    end.finished_us = std::chrono::microseconds(now - *ended_ago).count();
    std::promise<bool> finished;
    store_->finish(end, [&](const core::Status& status) { finished.set_value(status.has_value()); });
    EXPECT_TRUE(finished.get_future().get());
    return id;
  }
  std::string kept(const std::vector<std::string>& ids) {
    std::string names;
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (store_->get(ids[i])) names += static_cast<char>('a' + i);
    return names;
  }
  void sweep(Retention::Options options) {
    options.most = 2;
    Retention retention(io_, *store_, threads_, metrics_, options);
    retention.start();
    // The timer of the next sweep is all that is left when one is over.
    const auto deadline = std::chrono::steady_clock::now() + milliseconds(300);
    while (std::chrono::steady_clock::now() < deadline) io_.run_for(milliseconds(20)), io_.restart();
    retention.stop();
    io_.run();
    EXPECT_TRUE(io_.stopped());
    io_.restart();
  }

  boost::asio::io_context io_{1};
  boost::asio::thread_pool threads_{1};
  std::unique_ptr<storage::Store> store_;
  Metrics metrics_;
  int made_ = 0;
};

TEST_F(RetentionTest, ByAgeSinceTheEnd) {
  const std::vector ids = {job(hours(9), hours(8)), job(hours(8), hours(1)),   job(hours(7), hours(6)),    job(hours(6), hours(5)),
                           job(hours(5), hours(4)), job(hours(1), seconds(1)), job(hours(9), std::nullopt)};
  sweep({});
  EXPECT_EQ(kept(ids), "abcdefg");
  sweep({.max_age = hours(10)});
  EXPECT_EQ(kept(ids), "abcdefg");
  sweep({.max_age = hours(3)});
  EXPECT_EQ(kept(ids), "bfg");
  EXPECT_NE(metrics_.text({}).find("bailiff_jobs_forgotten_total 4\n"), std::string::npos);
}

TEST_F(RetentionTest, ByNumberTheNewestStay) {
  std::vector<std::string> ids;
  for (int i = 9; i > 2; --i) ids.push_back(job(hours(i), seconds(1)));
  ids.insert(ids.begin(), job(hours(10), std::nullopt));  // unfinished: it stays though it is the oldest
  sweep({.max_jobs = 8});
  EXPECT_EQ(kept(ids), "abcdefgh");
  sweep({.max_jobs = 3});
  EXPECT_EQ(kept(ids), "afgh");
}

TEST_F(RetentionTest, ItComesAgain) {
  const auto old = job(hours(2), hours(1));
  Retention retention(io_, *store_, threads_, metrics_, {.max_age = std::chrono::seconds(3599), .every = milliseconds(5)});
  const auto later = job(hours(1), seconds(3598));
  retention.start();
  const auto deadline = std::chrono::steady_clock::now() + seconds(30);
  while (store_->get(later) && std::chrono::steady_clock::now() < deadline) io_.run_for(milliseconds(5)), io_.restart();
  EXPECT_EQ(kept({old, later}), "");
  retention.stop();
  io_.run();
}

}  // namespace
}  // namespace bailiff::server
