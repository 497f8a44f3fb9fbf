#include "server/job_queue.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "core/clock.h"
#include "core/id.h"
#include "server/api_job.h"
#include "server/api_request.h"
#include "server/async_result.h"
#include "server/blob_content.h"
#include "server/log.h"

namespace bailiff::server {

namespace asio = boost::asio;
using core::ErrorKind;
using core::Verdict;
using std::chrono::steady_clock;

namespace {

constexpr int kMostAttempts = 20;  // of a job that never came to its end, by restarts and crashes of the server included
constexpr std::size_t kSmallDocumentBytes = 256 * 1024;  // what is read or made on the io thread
constexpr auto kWriteRetry = std::chrono::seconds(1);
constexpr auto kNotReadyAfterFailure = std::chrono::seconds(5);
constexpr auto kStopGrace = std::chrono::seconds(15);
constexpr std::uint64_t kMaxLiveSliceBytes = 64 * core::kMiB;

/// What a write was refused for: nothing of the disk's.
bool is_callers_fault(const core::Error& error) { return error.kind == ErrorKind::conflict || error.kind == ErrorKind::invalid; }

core::JobResult ended_by_us(std::string message) {
  core::JobResult result;
  result.verdict = Verdict::internal_error;
  result.message = std::move(message);
  return result;
}

std::size_t output_bytes(const core::JobResult& result) {
  std::size_t bytes = 0;
  for (const auto& step : result.steps) bytes += step.stdout_bytes.size() + step.stderr_bytes.size();
  for (const auto& test : result.tests) bytes += test.stdout_bytes.size() + test.stderr_bytes.size();
  for (const auto& artifact : result.artifacts) bytes += artifact.bytes.size();
  return bytes;
}

/// What a job took of the slots: its own time, or that of its parts where they ran side by side.
double slot_seconds(const ActiveJob& job, const core::Result<core::JobResult>& result) {
  std::uint64_t parts_us = 0;
  if (result) {
    for (const auto& step : result->steps) parts_us += step.outcome.usage.wall_us;
    for (const auto& test : result->tests) parts_us += test.outcome.usage.wall_us;
  }
  return std::max(static_cast<double>(parts_us) / 1e6, std::chrono::duration<double>(steady_clock::now() - job.started).count());
}

}  // namespace

JobQueue::JobQueue(asio::io_context& io, storage::Store& store, SlotPool& pool, Runner& runner, const images::Catalogue& catalogue,
                   asio::thread_pool& threads, Metrics& metrics, FairShare& shares, Options options)
    : io_(io), store_(store), pool_(pool), runner_(runner), catalogue_(catalogue), threads_(threads), metrics_(metrics), shares_(shares),
      options_(options), watches_(io.get_executor()), work_arrived_(io.get_executor()), commits_changed_(io.get_executor()),
      workers_changed_(io.get_executor()) {}

core::Status JobQueue::start() {
  const auto depth = store_.depth();
  if (!depth) return std::unexpected(depth.error());
  inherited_ = depth->queued + depth->running;
  const auto owners = store_.queued_by_owner();
  if (!owners) return std::unexpected(owners.error());
  shares_.set_queued(*owners);
  for (unsigned slot = 0; slot < pool_.size(); ++slot) {
    ++workers_;
    asio::co_spawn(io_, work(), asio::detached);
  }
  return {};
}

// ---- running ----

asio::awaitable<void> JobQueue::work() {
  while (!draining_) {
    while (commits_ > 2 * pool_.size() && !draining_) co_await commits_changed_.wait();
    if (draining_) break;
    const auto request = pool_.request(SlotLine::new_job);
    slot_requests_.insert(request);
    auto lease = co_await pool_.wait(request);
    slot_requests_.erase(request);
    if (!lease || draining_) break;
    const auto seen = arrivals_;
    auto claimed = co_await claim();
    if (!claimed) {
      lease.reset();
      log_error("cannot claim a job", {{"why", claimed.error()}});
      note_storage(std::unexpected(claimed.error()));
      asio::steady_timer pause(io_, kWriteRetry);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    } else if (*claimed) {
      co_await run_claimed(std::move(**claimed), std::move(*lease));
    } else {
      lease.reset();
      if (seen == arrivals_ && !draining_) co_await work_arrived_.wait();
    }
  }
  --workers_;
  workers_changed_.all();
}

asio::awaitable<core::Result<std::optional<storage::ClaimedJob>>> JobQueue::claim() {
  using Claimed = core::Result<std::optional<storage::ClaimedJob>>;
  const auto picked = std::make_shared<std::optional<std::string>>();
  storage::PickOwner pick = [&shares = shares_, picked](const std::vector<std::string>& owners) {
    *picked = shares.pick(owners);
    return *picked;
  };
  auto start = [this, &pick](auto done) { store_.claim(core::unix_us(), std::move(pick), std::move(done)); };
  auto claimed = co_await from_callback<Claimed>(std::move(start));
  if (*picked && (!claimed || !*claimed)) shares_.put_back(**picked);
  co_return claimed;
}

asio::awaitable<void> JobQueue::run_claimed(storage::ClaimedJob claimed, SlotLease lease) {
  if (claimed.attempt == 1) metrics_.job_started(core::age(claimed.created_us));
  const auto job = std::make_shared<ActiveJob>(claimed.id, claimed.owner, claimed.attempt, io_.get_executor());
  active_[job->id] = job;
  job->traceparent = stored_traceparent(claimed.request);
  job->interrupted = giving_up_;
  job->progressed = [this, id = job->id]() { watches_.tell(id, false); };
  job->tell_progress();
  log_debug("job claimed", {{"job", job->id}, {"attempt", job->attempt}, {"slot", lease.index()}});
  core::Result<core::JobResult> result;
  if (claimed.attempt > kMostAttempts) result = ended_by_us("the server was interrupted too many times while it ran this job");
  else result = co_await run_in(*job, claimed.request, std::move(lease));
  job->ended = true;
  ++commits_;
  asio::co_spawn(io_, commit(job, std::move(result)), asio::detached);
}

asio::awaitable<core::Result<core::JobResult>> JobQueue::run_in(ActiveJob& job, const std::string& request, SlotLease lease) {
  const auto decode = [&]() { return decode_stored_request(request, catalogue_); };
  std::expected<core::JobSpec, Problem> spec;
  if (request.size() <= kSmallDocumentBytes) spec = decode();
  else spec = co_await offload(threads_, decode);
  if (!spec) {
    const auto& problem = spec.error();
    co_return ended_by_us(problem.errors.empty() ? problem.detail : problem.errors.front().pointer + ": " + problem.errors.front().detail);
  }
  if (names_blobs(*spec)) {
    const auto load = [&]() { return load_blobs(*spec, job.owner, store_); };
    const auto loaded = co_await offload(threads_, load);
    if (!loaded) co_return std::unexpected(loaded.error());
  }
  co_return co_await runner_.run(job, *spec, std::move(lease));
}

asio::awaitable<void> JobQueue::commit(std::shared_ptr<ActiveJob> job, core::Result<core::JobResult> result) {
  const double used = slot_seconds(*job, result);
  if (!result) log_warn("the sandbox failed a job", {{"job", job->id}, {"attempt", job->attempt}, {"why", result.error()}});
  if (job->cancelled) {
    if (!result) result = core::JobResult{};
    result->verdict = Verdict::cancelled;
    result->message = "cancelled";
  } else if (!result && !job->interrupted) {
    if (result.error().kind == ErrorKind::invalid)
      result = ended_by_us("the sandbox refused the step: its command, environment or limits cannot be had here");
    else if (job->attempt >= options_.max_attempts)
      result = ended_by_us("the server failed to run this job; that is not the program's fault");
  }
  if (result && (!job->interrupted || job->cancelled)) co_await commit_result(*job, std::move(*result));
  else co_await commit_requeue(*job);
  active_.erase(job->id);
  give_back_share(*job, used);
  wake_waiters(job->id);
  --commits_;
  commits_changed_.all();
}

asio::awaitable<void> JobQueue::commit_result(ActiveJob& job, core::JobResult result) {
  storage::Finish finish;
  finish.id = job.id;
  finish.attempt = job.attempt;
  finish.finished_us = core::unix_us();
  finish.cpu_us = static_cast<std::int64_t>(job.cpu_us);
  const bool small = output_bytes(result) <= kSmallDocumentBytes;
  const auto put = [&]() {
    put_result(finish, std::move(result));
    return true;
  };
  if (small) put();
  else co_await offload(threads_, put);
  const Verdict verdict = finish.verdict;
  const bool written = co_await write_until_done(job, [&](auto done) { store_.finish(finish, std::move(done)); });
  if (!written) co_return;
  forget_unfinished(job.id);
  metrics_.job_finished(verdict, std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - job.started));
  log_info("job finished", {{"job", job.id}, {"attempt", job.attempt}, {"verdict", core::name(verdict)}, {"traceparent", job.traceparent}});
}

asio::awaitable<void> JobQueue::commit_requeue(ActiveJob& job) {
  auto state = core::JobState::queued;
  const auto requeue = [&](auto done) {
    store_.requeue(job.id, job.attempt, [&state, done = std::move(done)](core::Result<core::JobState> put) mutable {
      if (put) state = *put;
      done(put ? core::Status{} : std::unexpected(std::move(put.error())));
    });
  };
  const bool written = co_await write_until_done(job, requeue);
  if (!written) co_return;
  if (state == core::JobState::finished) {  // its cancel was asked for in the meantime
    forget_unfinished(job.id);
    co_return;
  }
  shares_.queued(job.owner, 1);
  metrics_.job_requeued();
  log_info("job put back into the queue", {{"job", job.id}, {"attempt", job.attempt}});
  ++arrivals_;
  work_arrived_.one();
}

template <class Write>
asio::awaitable<bool> JobQueue::write_until_done(const ActiveJob& job, Write write) {
  for (;;) {
    const auto status = co_await from_callback<core::Status>([&write](auto done) { write(std::move(done)); });
    note_storage(status);
    if (status) co_return true;
    log_error("cannot write how a job ended", {{"job", job.id}, {"attempt", job.attempt}, {"why", status.error()}});
    const bool hopeless = status.error().kind == ErrorKind::conflict || status.error().kind == ErrorKind::not_found;
    if (hopeless || giving_up_) co_return false;
    asio::steady_timer pause(io_, kWriteRetry);
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

// ---- the door ----

bool JobQueue::is_known(const storage::NewJob& job) const {
  return job.idempotency_key && store_.knows_key(job.owner, *job.idempotency_key).value_or(false);
}

Quota JobQueue::exhausted(const std::string& owner, std::uint64_t more_bytes) const {
  const auto bounds = shares_.bounds(owner);
  if (bounds.max_stored_bytes > 0 || bounds.max_cpu_ms_per_hour > 0) {
    const auto use = store_.use_of(owner, core::unix_us());
    if (!use) return Quota::unknown;
    const auto most = bounds.max_stored_bytes;
    if (most > 0 && (use->stored_bytes >= most || more_bytes > most - use->stored_bytes)) return Quota::stored_bytes;
    if (bounds.max_cpu_ms_per_hour > 0 && use->cpu_us / 1000 >= bounds.max_cpu_ms_per_hour) return Quota::cpu_time;
  }
  return shares_.room(owner).value_or(1) == 0 ? Quota::queued_jobs : Quota::none;
}

asio::awaitable<core::Result<storage::Submitted>> JobQueue::submit(storage::NewJob job) {
  if (draining_) co_return core::error(ErrorKind::unavailable, "draining");
  // One that was accepted before takes no room: who asks again, because the answer was lost, is told of it.
  const bool full = queued() >= options_.max_queued || exhausted(job.owner) != Quota::none;
  if (full && !is_known(job)) co_return core::error(ErrorKind::unavailable, "the queue is full");
  job.id = core::new_job_id();
  job.created_us = core::unix_us();
  // Known before it is stored: a worker may claim it as soon as it is.
  const auto known = unfinished_.insert(job.id).first;
  const std::string id = *known, owner = job.owner;
  shares_.queued(owner, 1);
  auto submitted =
      co_await from_callback<core::Result<storage::Submitted>>([this, &job](auto done) { store_.submit(std::move(job), std::move(done)); });
  if (!submitted || submitted->existed) {
    unfinished_.erase(id);
    shares_.queued(owner, -1);
  }
  if (!submitted && is_callers_fault(submitted.error())) co_return submitted;
  if (!submitted) {
    log_error("cannot store a job", {{"why", submitted.error()}});
    note_storage(std::unexpected(submitted.error()));
    co_return submitted;
  }
  note_storage({});
  if (!submitted->existed) metrics_.jobs_accepted(1);
  ++arrivals_;
  work_arrived_.one();
  co_return submitted;
}

// As many of them, from the first, as there is room for; those that were accepted before take none.
std::size_t JobQueue::fitting(const std::vector<storage::NewJob>& jobs) const {
  if (jobs.empty()) return 0;
  const auto waiting = queued();
  auto room = waiting < options_.max_queued ? options_.max_queued - waiting : 0;
  const auto& owner = jobs.front().owner;
  room = exhausted(owner) == Quota::none ? std::min(room, shares_.room(owner).value_or(room)) : 0;
  if (jobs.size() <= room) return jobs.size();
  std::size_t fit = 0;
  for (; fit < jobs.size(); ++fit) {
    if (is_known(jobs[fit])) continue;
    if (room == 0) break;
    --room;
  }
  return fit;
}

asio::awaitable<core::Result<std::vector<storage::Submitted>>> JobQueue::submit_all(std::vector<storage::NewJob> jobs) {
  using Submitted = std::vector<storage::Submitted>;
  if (draining_) co_return core::error(ErrorKind::unavailable, "draining");
  jobs.resize(fitting(jobs));
  if (jobs.empty()) co_return Submitted{};
  const std::string owner = jobs.front().owner;
  shares_.queued(owner, static_cast<std::int64_t>(jobs.size()));
  std::vector<std::string> ids;
  for (auto& job : jobs) {
    job.id = core::new_job_id();
    job.created_us = core::unix_us();
    unfinished_.insert(job.id);  // as in submit()
    ids.push_back(job.id);
  }
  auto start = [this, &jobs](auto done) { store_.submit_all(std::move(jobs), std::move(done)); };
  auto submitted = co_await from_callback<core::Result<Submitted>>(std::move(start));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (submitted && !(*submitted)[i].existed) continue;
    unfinished_.erase(ids[i]);
    shares_.queued(owner, -1);
  }
  if (!submitted && is_callers_fault(submitted.error())) co_return submitted;
  note_storage(submitted ? core::Status{} : std::unexpected(submitted.error()));
  if (!submitted) {
    log_error("cannot store jobs", {{"why", submitted.error()}});
    co_return submitted;
  }
  metrics_.jobs_accepted(static_cast<std::uint64_t>(std::ranges::count(*submitted, false, &storage::Submitted::existed)));
  ++arrivals_;
  work_arrived_.all();
  co_return submitted;
}

asio::awaitable<core::Status> JobQueue::forget(std::string id) {
  auto start = [this, &id](auto done) { store_.forget(id, std::move(done)); };
  auto forgotten = co_await from_callback<core::Status>(std::move(start));
  if (forgotten) watches_.tell(id, true);
  co_return forgotten;
}

asio::awaitable<bool> JobQueue::wait_finished(std::string id, std::chrono::milliseconds at_most) {
  struct Place {
    std::multimap<std::string, WakeUp*>& all;
    std::multimap<std::string, WakeUp*>::iterator at;
    ~Place() { all.erase(at); }
  };
  const auto deadline = steady_clock::now() + at_most;
  WakeUp woken(io_.get_executor());
  const Place place{waiters_, waiters_.emplace(id, &woken)};
  // What this process accepted is known to be unfinished for as long as it is in unfinished_; anything else is looked up.
  const bool known = unfinished_.contains(id);
  const auto finished = [&]() {
    if (known) return !unfinished_.contains(id);
    const auto job = store_.get(id);
    return job && job->state == core::JobState::finished;
  };
  while (!finished()) {
    if (steady_clock::now() >= deadline || giving_up_) co_return false;
    co_await woken.wait_until(deadline);
  }
  co_return true;
}

asio::awaitable<core::Result<core::JobState>> JobQueue::cancel(std::string id) {
  auto start = [this, &id](auto done) { store_.cancel(id, core::unix_us(), std::move(done)); };
  const auto cancelled = co_await from_callback<core::Result<storage::Cancelled>>(std::move(start));
  if (!cancelled) co_return std::unexpected(cancelled.error());
  if (cancelled->ended_now) {
    shares_.queued(cancelled->owner, -1);
    forget_unfinished(id);
    wake_waiters(id);
  }
  if (cancelled->state != core::JobState::running) co_return cancelled->state;
  if (const auto found = active_.find(id); found != active_.end()) {
    const auto job = found->second;
    job->cancelled = true;
    job->stop_running();
    co_return cancelled->state;
  }
  // It came to its end, or went back into the queue and ended there, while this answer was on its way.
  const auto now = store_.get(id);
  co_return now ? now->state : cancelled->state;
}

core::Status JobQueue::set_paused(const std::string& id, bool paused) {
  const auto found = active_.find(id);
  if (found == active_.end() || found->second->ended || found->second->stopping()) {
    const auto job = store_.get(id);
    if (!job) return std::unexpected(job.error());
    return core::error(ErrorKind::conflict, "the job is not running");
  }
  const auto job = found->second;
  if (job->paused == paused) return {};
  job->pause_end.cancel();
  if (!paused) {
    job->resume();
    job->tell_progress();
    return {};
  }
  job->pause();
  job->tell_progress();
  job->pause_end.expires_after(options_.max_pause);
  job->pause_end.async_wait([weak = std::weak_ptr(job)](const boost::system::error_code& error) {
    const auto paused_job = weak.lock();
    if (error || !paused_job) return;
    log_info("the longest pause is over", {{"job", paused_job->id}});
    paused_job->resume();
    paused_job->tell_progress();
  });
  return {};
}

std::set<std::string> JobQueue::paused() const {
  std::set<std::string> ids;
  for (const auto& [id, job] : active_)
    if (job->paused && !job->ended && !job->stopping()) ids.insert(id);
  return ids;
}

std::optional<storage::Store::Slice> JobQueue::live_output(const std::string& id, int step, storage::Stream stream, std::uint64_t offset,
                                                           std::uint64_t length) {
  const auto found = active_.find(id);
  if (found == active_.end() || step < 0 || std::cmp_greater_equal(step, found->second->step_outputs.size())) return std::nullopt;
  const auto& output = found->second->step_outputs[static_cast<std::size_t>(step)];
  const int fd = stream == storage::Stream::stdout_stream ? output.stdout_fd.get() : output.stderr_fd.get();
  struct stat info{};
  if (::fstat(fd, &info) != 0) return std::nullopt;
  storage::Store::Slice slice;
  slice.total_bytes = static_cast<std::uint64_t>(info.st_size);
  if (offset >= slice.total_bytes) return slice;
  slice.bytes.resize(std::min({length, slice.total_bytes - offset, kMaxLiveSliceBytes}));
  const auto got = ::pread(fd, slice.bytes.data(), slice.bytes.size(), static_cast<off_t>(offset));
  if (got < 0) return std::nullopt;
  slice.bytes.resize(static_cast<std::size_t>(got));
  return slice;
}

bool JobQueue::ready() const {
  const bool stored =
      storage_failed_at_ == steady_clock::time_point::min() || steady_clock::now() - storage_failed_at_ > kNotReadyAfterFailure;
  return !draining_ && stored && pool_.alive() > 0;
}

// ---- the end ----

asio::awaitable<void> JobQueue::drain(steady_clock::time_point deadline) {
  draining_ = true;
  work_arrived_.all();
  commits_changed_.all();
  for (const auto& request : std::set(slot_requests_)) pool_.withdraw(request);
  const auto idle = [this]() { return workers_ == 0 && commits_ == 0; };
  const auto wait_until = [&](steady_clock::time_point end) -> asio::awaitable<void> {
    asio::steady_timer alarm(io_, end);
    alarm.async_wait([this](const boost::system::error_code& error) {
      if (!error) workers_changed_.all(), commits_changed_.all();
    });
    while (!idle() && steady_clock::now() < end) {
      if (workers_ > 0) co_await workers_changed_.wait();
      else co_await commits_changed_.wait();
    }
  };
  co_await wait_until(deadline);
  giving_up_ = true;
  for (const auto& [id, job] : std::unordered_map(active_)) {
    job->interrupted = true;
    job->stop_running();
  }
  co_await wait_until(steady_clock::now() + kStopGrace);
  if (!idle()) log_error("jobs did not stop in time; the next start puts them back into the queue", {{"jobs", active_.size()}});
  for (const auto& [id, waiter] : waiters_) waiter->all();
  watches_.end();
}

// ---- what is remembered ----

void JobQueue::note_storage(const core::Status& status) {
  const bool failed = !status && status.error().kind != ErrorKind::conflict && status.error().kind != ErrorKind::not_found;
  storage_failed_at_ = failed ? steady_clock::now() : steady_clock::time_point::min();
}

void JobQueue::forget_unfinished(const std::string& id) {
  if (unfinished_.erase(id) == 0 && inherited_ > 0) --inherited_;
}

void JobQueue::wake_waiters(const std::string& id) {
  const auto [begin, end] = waiters_.equal_range(id);
  for (auto waiter = begin; waiter != end; ++waiter) waiter->second->all();
  watches_.tell(id, true);
}

void JobQueue::give_back_share(const ActiveJob& job, double slot_seconds) {
  if (!shares_.ended(job.owner, slot_seconds)) return;
  ++arrivals_;
  work_arrived_.one();
}

std::uint64_t JobQueue::queued() const {
  const auto all = unfinished_.size() + inherited_;
  return all > active_.size() ? all - active_.size() : 0;
}

}  // namespace bailiff::server
