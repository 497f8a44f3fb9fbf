#pragma once
// The Jobs door: accepts jobs, claims them when a slot is free, has them run, commits what came of them, wakes who waits.
//
// Theory of operation. One worker coroutine a slot: borrow a slot, claim the next job from the store, run it, give the slot back; the
// commit of the result goes on in a coroutine of its own (their number is bounded) while the worker claims the next job in the same
// transaction. With an empty queue the workers sleep until a submit or a requeue wakes one; nothing polls. The store is the truth: what
// this object remembers is only what it runs, who waits, and how many jobs are not finished. A failure of the sandbox puts the job back,
// max_attempts times at most; a result that cannot be written (disk full) is kept and tried again. io thread only.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "server/active_job.h"
#include "server/fair_share.h"
#include "server/job_watch.h"
#include "server/jobs.h"
#include "server/metrics.h"
#include "server/runner.h"
#include "server/wake_up.h"

namespace bailiff::server {

class JobQueue final : public Jobs {
 public:
  struct Options {
    std::uint64_t max_queued = 100'000;
    int max_attempts = 3;
    std::chrono::milliseconds max_pause = std::chrono::hours(1);  // a job goes on by itself then: it holds a slot
  };

  /// All but `options` outlive the queue and the running of `io`. Large documents are read and made in `threads`.
  JobQueue(boost::asio::io_context& io, storage::Store& store, SlotPool& pool, Runner& runner, const images::Catalogue& catalogue,
           boost::asio::thread_pool& threads, Metrics& metrics, FairShare& shares, Options options);

  /// Starts the workers. Fails where the store cannot be read.
  core::Status start();
  /// No new jobs, no claims; jobs that run may end until `deadline`, then they are stopped and put back into the queue. Returns when
  /// nothing runs and everything is committed, or some seconds after the deadline when that cannot be had.
  boost::asio::awaitable<void> drain(std::chrono::steady_clock::time_point deadline);

  boost::asio::awaitable<core::Result<storage::Submitted>> submit(storage::NewJob job) override;
  boost::asio::awaitable<core::Result<std::vector<storage::Submitted>>> submit_all(std::vector<storage::NewJob> jobs) override;
  Quota exhausted(const std::string& owner, std::uint64_t more_bytes = 0) const override;
  std::unique_ptr<JobWatch> watch(const std::vector<std::string>& ids, News news) override { return watches_.watch(ids, news); }
  std::optional<Progress> progress(const std::string& id) const override;
  void tell_output(const std::string& id) override;
  boost::asio::awaitable<core::Status> forget(std::string id) override;
  boost::asio::awaitable<bool> wait_finished(std::string id, std::chrono::milliseconds at_most) override;
  boost::asio::awaitable<core::Result<core::JobState>> cancel(std::string id) override;
  core::Status set_paused(const std::string& id, bool paused) override;
  std::set<std::string> paused() const override;
  boost::asio::awaitable<core::Result<RunningSandbox>> inspect(std::string id) override;
  boost::asio::awaitable<core::Result<sandbox::ExecSession>> exec(std::string id, sandbox::ExecRequest request) override;
  core::Result<core::Fd> input_of(const std::string& id) override;
  void close_input(const std::string& id) override;
  std::optional<storage::Store::Slice> live_output(const std::string& id, int step, storage::Stream stream, std::uint64_t offset,
                                                   std::uint64_t length) override;
  std::vector<SlotInfo> slots() const override { return pool_.slots(); }
  bool ready() const override;

 private:
  boost::asio::awaitable<void> work();
  boost::asio::awaitable<core::Result<std::optional<storage::ClaimedJob>>> claim();
  /// Runs a claimed job, then lets its end be committed in the background.
  boost::asio::awaitable<void> run_claimed(storage::ClaimedJob claimed, SlotLease lease);
  boost::asio::awaitable<core::Result<core::JobResult>> run_in(ActiveJob& job, const std::string& request, SlotLease lease);
  boost::asio::awaitable<void> commit(std::shared_ptr<ActiveJob> job, core::Result<core::JobResult> result);
  boost::asio::awaitable<void> commit_result(ActiveJob& job, core::JobResult result);
  boost::asio::awaitable<void> commit_requeue(ActiveJob& job);
  /// Until it is written, or its lease is lost, or the server is going down. True when written.
  template <class Write>
  boost::asio::awaitable<bool> write_until_done(const ActiveJob& job, Write write);
  /// The first part of a job that runs now.
  core::Result<std::pair<SlotLease*, RunningPart>> first_running(const std::string& id);
  void note_storage(const core::Status& status);
  void forget_unfinished(const std::string& id);
  void wake_waiters(const std::string& id);
  void give_back_share(const ActiveJob& job, double slot_seconds);
  [[nodiscard]] std::uint64_t queued() const;
  [[nodiscard]] std::size_t fitting(const std::vector<storage::NewJob>& jobs) const;
  [[nodiscard]] bool is_known(const storage::NewJob& job) const;

  boost::asio::io_context& io_;
  storage::Store& store_;
  SlotPool& pool_;
  Runner& runner_;
  const images::Catalogue& catalogue_;
  boost::asio::thread_pool& threads_;
  Metrics& metrics_;
  FairShare& shares_;
  const Options options_;

  std::unordered_map<std::string, std::shared_ptr<ActiveJob>> active_;  // claimed, end not committed
  std::unordered_set<std::string> unfinished_;  // accepted by this process (or about to be); those from before it are only counted
  std::uint64_t inherited_ = 0;  // unfinished jobs from before this process
  std::multimap<std::string, WakeUp*> waiters_;
  JobWatches watches_;
  std::set<std::shared_ptr<SlotPool::Request>> slot_requests_;  // of workers that wait for a slot
  std::uint64_t arrivals_ = 0;  // submits and requeues: tells a worker that its empty claim is out of date
  WakeUp work_arrived_, commits_changed_, workers_changed_;
  std::uint64_t commits_ = 0, workers_ = 0;
  bool draining_ = false, giving_up_ = false;
  std::chrono::steady_clock::time_point storage_failed_at_ = std::chrono::steady_clock::time_point::min();
};

}  // namespace bailiff::server
