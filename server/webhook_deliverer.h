#pragma once
// Tells receivers of the ends of jobs. The store is the truth: what is due there is attempted, what came of it is recorded there, and what
// this object remembers is only what is under way. An attempt that was cut short, by a drain or a kill, is made again; so a receiver may be
// told twice, under the same webhook-id, but never not at all. A receiver that is slow holds at most a quarter of the places. With nothing
// due it sleeps until the store says that something is; times are the wall clock's, for they outlive the process, so the next one is
// waited for a minute at most at a time, in which a clock that was set is noticed. io thread only.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <map>
#include <random>
#include <string>

#include "server/metrics.h"
#include "server/wake_up.h"
#include "server/webhook_client.h"
#include "server/webhook_schedule.h"
#include "storage/store.h"

namespace bailiff::server {

class WebhookDeliverer {
 public:
  struct Options {
    std::size_t at_one_time = 16;  // attempts
    std::chrono::milliseconds attempt_time = std::chrono::seconds(15);
    WebhookSchedule schedule = {};
    WebhookRules rules = {};
  };

  /// All outlive it and the running of `io`. Payloads are made, and the store is read, in `threads`.
  WebhookDeliverer(boost::asio::io_context& io, storage::Store& store, boost::asio::thread_pool& threads, Metrics& metrics,
                   WebhookClient& client, Options options);

  void start();
  /// Something has become due.
  void wake();
  /// No further attempt begins; those under way may end until `deadline`, then they are cut short. Returns when none is left.
  boost::asio::awaitable<void> drain(std::chrono::steady_clock::time_point deadline);

 private:
  struct Message;
  boost::asio::awaitable<void> run();
  boost::asio::awaitable<storage::DueWebhooks> look();
  boost::asio::awaitable<void> attempt(std::string job_id, std::string origin);
  boost::asio::awaitable<void> deliver(const std::string& job_id, const std::string& origin);
  boost::asio::awaitable<void> record(storage::WebhookAttempt attempt);
  boost::asio::awaitable<void> pause(std::chrono::milliseconds time);

  boost::asio::io_context& io_;
  storage::Store& store_;
  boost::asio::thread_pool& threads_;
  Metrics& metrics_;
  WebhookClient& client_;
  const Options options_;
  std::map<std::string, std::string> under_way_;  // job id → origin
  std::uint64_t wakes_ = 0;  // tells a look that what it saw is out of date
  WakeUp woken_, ended_;
  bool running_ = false, stopping_ = false, giving_up_ = false;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace bailiff::server
