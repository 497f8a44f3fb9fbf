// What is asked of a slot while a part of a job runs in it.
#include <algorithm>

#include "server/job_queue.h"
#include "server/readable.h"

// g++ 12, below -O3, takes Asio's recycling allocator of coroutine frames for a mismatched pair of new and delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace bailiff::server {

namespace asio = boost::asio;
using core::ErrorKind;

namespace {

// More than the slot gives itself to bring a command into the sandbox.
constexpr auto kAnswerTime = std::chrono::seconds(30);

core::Error no_answer() { return {ErrorKind::internal, "a slot does not answer what it was asked beside its step", 0}; }

}  // namespace

core::Result<std::pair<SlotLease*, RunningPart>> JobQueue::first_running(const std::string& id) {
  const auto found = active_.find(id);
  if (found == active_.end()) {
    const auto job = store_.get(id);
    if (!job) return std::unexpected(job.error());
    return core::error(ErrorKind::conflict, "the job is not running");
  }
  const auto& running = found->second->running;
  const auto first = std::ranges::min_element(running, {}, [](const auto& entry) { return entry.second; });
  if (first == running.end()) return core::error(ErrorKind::conflict, "nothing of the job runs now");
  return *first;
}

asio::awaitable<core::Result<RunningSandbox>> JobQueue::inspect(std::string id) {
  const auto running = first_running(id);
  if (!running) co_return std::unexpected(running.error());
  const auto& [lease, part] = *running;
  const unsigned slot = lease->index();
  const auto answer = lease->ask_inspection();
  if (!answer) co_return std::unexpected(answer.error());
  const bool answered = co_await becomes_readable(io_.get_executor(), answer->get(), kAnswerTime);
  if (!answered) co_return std::unexpected(no_answer());
  auto seen = sandbox::take_inspection(*answer);
  if (!seen) co_return std::unexpected(seen.error());
  co_return RunningSandbox{part, slot, std::move(*seen)};
}

asio::awaitable<core::Result<sandbox::ExecSession>> JobQueue::exec(std::string id, sandbox::ExecRequest request) {
  const auto running = first_running(id);
  if (!running) co_return std::unexpected(running.error());
  auto answer = running->first->ask_exec(request);
  if (!answer) co_return std::unexpected(answer.error());
  const bool answered = co_await becomes_readable(io_.get_executor(), answer->get(), kAnswerTime);
  if (!answered) co_return std::unexpected(no_answer());
  co_return sandbox::take_exec(std::move(*answer));
}

std::optional<Progress> JobQueue::progress(const std::string& id) const {
  const auto found = active_.find(id);
  if (found == active_.end()) return std::nullopt;
  Progress progress;
  progress.attempt = found->second->attempt;
  progress.paused = found->second->paused && !found->second->ended && !found->second->stopping();
  for (const auto& step : found->second->step_outputs) progress.steps.push_back({step.name, step.outcome, step.interactive});
  return progress;
}

core::Result<core::Fd> JobQueue::input_of(const std::string& id) {
  const auto found = active_.find(id);
  if (found == active_.end() || !found->second->input.valid())
    return core::error(ErrorKind::not_found, "no step of the job reads from here");
  auto own = found->second->input.duplicate();
  if (!own.valid()) return core::errno_error("duplicate a descriptor");
  return own;
}

void JobQueue::close_input(const std::string& id) {
  if (const auto found = active_.find(id); found != active_.end()) found->second->input.reset();
}

void JobQueue::tell_output(const std::string& id) {
  const auto found = active_.find(id);
  if (found == active_.end()) return;
  for (const auto& [lease, part] : found->second->running)
    if (!part.is_test)
      lease->tell_output([weak = std::weak_ptr(found->second)]() {
        if (const auto job = weak.lock()) job->tell_progress();
      });
}

}  // namespace bailiff::server
