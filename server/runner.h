#pragma once
// Runs one job in slots: stages its files, runs its steps in order or its tests side by side, and judges what they did.
//
// Two kinds of failure never mix. What the programs did becomes a JobResult. What the sandbox could not do is an Error, and the job may be
// tried again elsewhere (kind invalid: it would fail again in the same way).
// A job's steps run in one slot and share its workspace. With tests, a compile step's workspace is taken out once, and every test starts
// from a copy of it in a workspace of its own, in whatever slots are free.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <vector>

#include "core/job.h"
#include "core/result.h"
#include "images/catalogue.h"
#include "server/active_job.h"
#include "server/job_archive.h"
#include "server/metrics.h"
#include "server/slot_pool.h"
#include "server/step_plan.h"

namespace bailiff::server {

/// Bytes of each stream of a test that are kept; what is over is judged and then forgotten.
inline constexpr std::size_t kKeptTestOutputBytes = 64 * 1024;

class Runner {
 public:
  /// All outlive the runner. Comparing large outputs is done in `threads`.
  Runner(SlotPool& pool, const images::Catalogue& catalogue, const LimitLevels& levels, boost::asio::thread_pool& threads, Metrics& metrics,
         Unpack unpack = {})
      : pool_(pool), catalogue_(catalogue), levels_(levels), threads_(threads), metrics_(metrics), unpack_(std::move(unpack)) {}

  /// `lease` is given back when the last step has ended. A stopped job (ActiveJob::stopping) ends soon, with what it has so far.
  boost::asio::awaitable<core::Result<core::JobResult>> run(ActiveJob& job, const core::JobSpec& spec, SlotLease lease);

 private:
  struct RanStep;
  struct Staging;
  struct TestRun;
  boost::asio::awaitable<core::Result<RanStep>> run_step(ActiveJob& job, SlotLease& lease, const PlannedStep& step, const Staging& staging);
  boost::asio::awaitable<core::Result<core::Fd>> run_steps(ActiveJob& job, const core::JobSpec& spec, const JobPlan& plan,
                                                           const core::Fd& files, SlotLease& lease, core::JobResult& result);
  boost::asio::awaitable<core::Status> run_tests(ActiveJob& job, const core::JobSpec& spec, const JobPlan& plan, const core::Fd& tree,
                                                 SlotLease lease, core::JobResult& result);
  boost::asio::awaitable<void> run_tests_in(std::shared_ptr<TestRun> run, SlotLease lease);
  boost::asio::awaitable<void> help_with_tests(std::shared_ptr<TestRun> run, std::shared_ptr<SlotPool::Request> request);
  boost::asio::awaitable<core::Result<core::TestResult>> run_test(TestRun& run, std::size_t index, SlotLease& lease);

  SlotPool& pool_;
  const images::Catalogue& catalogue_;
  const LimitLevels levels_;
  boost::asio::thread_pool& threads_;
  Metrics& metrics_;
  const Unpack unpack_;
  boost::asio::thread_pool unpacking_{1};  // of its own, for an archive may take seconds
};

}  // namespace bailiff::server
