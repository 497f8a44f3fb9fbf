#pragma once
// Deletes finished jobs that are too old or too many, as the operator set it, and blobs that nobody needs: a few in one write, then it
// stands back for as long as that write took, so that no job's own writes wait behind it. io thread only.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>

#include "server/metrics.h"
#include "storage/store.h"

namespace bailiff::server {

class Retention {
 public:
  struct Options {
    std::chrono::seconds max_age{0};  // of a job since its end; 0: any
    std::uint64_t max_jobs = 0;  // that are kept; 0: any number
    std::chrono::seconds blob_age{0};  // of a blob that no job needs, since its last use; 0: any
    std::chrono::milliseconds every = std::chrono::minutes(1);
    int most = 16;  // jobs or blobs deleted in one write
  };

  /// All outlive it and the running of `io`. Counting goes on in `threads`.
  Retention(boost::asio::io_context& io, storage::Store& store, boost::asio::thread_pool& threads, Metrics& metrics, Options options)
      : io_(io), store_(store), threads_(threads), metrics_(metrics), options_(options), timer_(io) {}

  /// From now on, until stop(); nothing at all where nothing is bounded.
  void start();
  /// No further deletion begins.
  void stop();

 private:
  boost::asio::awaitable<void> run();
  /// Everything that is due now.
  boost::asio::awaitable<void> sweep();
  boost::asio::awaitable<void> forget_before(std::string id, std::int64_t finished_before_us);
  boost::asio::awaitable<void> forget_blobs();
  boost::asio::awaitable<void> pause(std::chrono::steady_clock::duration time);

  boost::asio::io_context& io_;
  storage::Store& store_;
  boost::asio::thread_pool& threads_;
  Metrics& metrics_;
  const Options options_;
  boost::asio::steady_timer timer_;
  bool stopped_ = false;
};

}  // namespace bailiff::server
