#include "server/job_follower.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "server/api_job.h"
#include "server/log.h"

namespace bailiff::server {

using boost::asio::awaitable;
using core::Json;

namespace {

constexpr std::uint64_t kChunkBytes = 16 * 1024;  // of output in one event

void log_unread(const core::Error& error) { log_error("events ended early", {{"error", error}}); }

/// The steps of a finished job's result document.
Json steps_of(const storage::StoredJob& job) {
  Json result = Json::parse(job.result, nullptr, false);
  if (!result.is_object() || !result.contains("steps") || !result["steps"].is_array()) return Json::array();
  return std::move(result["steps"]);
}

Json end_of_step(const core::Outcome& outcome) {
  Json end = Json::object();
  core::put_outcome(end, outcome);
  return end;
}

}  // namespace

std::string JobPosition::text() const { return fmt::format("{}-{}-{}-{}-{}-{}", attempt, told, step, part, stdout_bytes, stderr_bytes); }

std::optional<JobPosition> JobPosition::parse(std::string_view text) {
  JobPosition position;
  const std::array<std::uint64_t*, 6> fields = {&position.attempt, &position.told,         &position.step,
                                                &position.part,    &position.stdout_bytes, &position.stderr_bytes};
  const char* next = text.data();
  const char* const end = next + text.size();
  for (auto* field : fields) {
    if (field != fields.front() && (next == end || *next++ != '-')) return std::nullopt;
    const auto [after, error] = std::from_chars(next, end, *field);
    if (error != std::errc()) return std::nullopt;
    next = after;
  }
  if (next != end || position.told > done || position.part > begun) return std::nullopt;
  return position;
}

std::size_t whole_characters(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

void JobFollower::begin_attempt(std::uint64_t attempt) {
  at_.attempt = attempt;
  at_.step = 0;
  at_.part = JobPosition::before;
  at_.stdout_bytes = at_.stderr_bytes = 0;
}

void JobFollower::next_step() {
  ++at_.step;
  at_.part = JobPosition::before;
  at_.stdout_bytes = at_.stderr_bytes = 0;
}

awaitable<JobFollower::End> JobFollower::follow(JobWatch& watch, std::chrono::milliseconds pulse) {
  while (true) {
    const bool looked = co_await on_look();
    if (!looked) co_return End::broken;
    const Next next = co_await tell_known();
    if (next == Next::end) co_return End::told;
    if (next == Next::gone) co_return End::gone;
    if (next == Next::broken) co_return End::broken;
    if (next == Next::again) continue;
    jobs_.tell_output(id_);
    const auto silence = std::chrono::steady_clock::now() + pulse;
    const auto news = co_await watch.changed(silence);
    if (!news.empty()) continue;
    if (std::chrono::steady_clock::now() < silence) co_return End::left;
    const bool told = co_await on_silence();
    if (!told) co_return End::broken;
  }
}

awaitable<JobFollower::Next> JobFollower::tell_known() {
  if (jobs_.progress(id_)) co_return co_await tell_running();
  const auto job = store_.get(id_);
  if (!job && job.error().kind == core::ErrorKind::not_found) co_return Next::gone;
  if (!job) {
    log_unread(job.error());
    co_return Next::broken;
  }
  if (job->state == core::JobState::finished) co_return co_await tell_finished(*job);
  // Queued, for the first time or again. Where the store says that it runs, its attempt is about to begin or to end here.
  if (job->state == core::JobState::queued && at_.told != JobPosition::queued) {
    at_.attempt = static_cast<std::uint64_t>(job->attempt);
    const bool sent = co_await tell_state(JobPosition::queued);
    co_return sent ? Next::again : Next::broken;
  }
  co_return Next::wait;
}

awaitable<JobFollower::Next> JobFollower::tell_running() {
  auto progress = jobs_.progress(id_);
  const auto attempt = static_cast<std::uint64_t>(progress->attempt);
  const auto state = progress->paused ? JobPosition::paused : JobPosition::running;
  const bool begins = at_.attempt != attempt || (at_.told != JobPosition::running && at_.told != JobPosition::paused);
  if (begins) begin_attempt(attempt);
  if (begins || at_.told != state) {
    const bool sent = co_await tell_state(state);
    co_return sent ? Next::again : Next::broken;
  }
  if (at_.step >= progress->steps.size()) co_return Next::wait;
  const auto step = std::move(progress->steps[at_.step]);
  if (at_.part == JobPosition::before) {
    const bool sent = co_await tell_step(step.name, nullptr);
    co_return sent ? Next::again : Next::broken;
  }
  // Its outcome was taken before its output is read, so that what is read of an ended step is all of it.
  const auto told = at_.stdout_bytes + at_.stderr_bytes;
  const bool sent = co_await tell_output(step.outcome.has_value());
  if (!sent) co_return Next::broken;
  if (!step.outcome) co_return at_.stdout_bytes + at_.stderr_bytes != told ? Next::again : Next::wait;
  const auto now = jobs_.progress(id_);
  if (!now || now->attempt != progress->attempt) co_return Next::again;  // it is in the store by now, perhaps with more output to tell
  const Json end = end_of_step(*step.outcome);
  const bool ended = co_await tell_step(step.name, &end);
  co_return ended ? Next::again : Next::broken;
}

awaitable<JobFollower::Next> JobFollower::tell_finished(const storage::StoredJob& job) {
  const auto attempt = static_cast<std::uint64_t>(job.attempt);
  if (job.started_us && (at_.attempt != attempt || at_.told < JobPosition::running)) {
    begin_attempt(attempt);
    const bool sent = co_await tell_state(JobPosition::running);
    if (!sent) co_return Next::broken;
  }
  const Json steps = steps_of(job);
  while (at_.told < JobPosition::finished && at_.step < steps.size()) {
    Json end = steps[at_.step];
    const std::string name = end.value("name", "");
    if (at_.part == JobPosition::before) {
      const bool begun = co_await tell_step(name, nullptr);
      if (!begun) co_return Next::broken;
    }
    const bool told = co_await tell_output(true);
    if (!told) co_return Next::broken;
    for (const char* other : {"name", "stdout_bytes", "stderr_bytes", "samples"}) end.erase(other);
    const bool ended = co_await tell_step(name, &end);
    if (!ended) co_return Next::broken;
  }
  if (at_.told < JobPosition::finished) {
    at_.attempt = attempt;
    const bool sent = co_await tell_state(JobPosition::finished);
    if (!sent) co_return Next::broken;
  }
  const OutputPolicy policy{false, 0};
  const auto document = compose_job(job, store_, policy);
  if (!document) {
    log_unread(document.error());
    co_return Next::broken;
  }
  at_.told = JobPosition::done;
  const bool sent = co_await on_done(std::move(*document));
  co_return sent ? Next::end : Next::broken;
}

awaitable<bool> JobFollower::tell_output(bool ended) {
  for (bool more = true; more;) {
    more = false;
    const bool out = co_await tell_chunk(storage::Stream::stdout_stream, ended, more);
    if (!out) co_return false;
    const bool err = co_await tell_chunk(storage::Stream::stderr_stream, ended, more);
    if (!err) co_return false;
  }
  co_return true;
}

awaitable<bool> JobFollower::tell_chunk(storage::Stream stream, bool ended, bool& more) {
  const bool is_out = stream == storage::Stream::stdout_stream;
  auto& told = is_out ? at_.stdout_bytes : at_.stderr_bytes;
  const int index = static_cast<int>(std::min<std::uint64_t>(at_.step, storage::kFirstTest - 1));
  // A next attempt's output is no continuation of this one's.
  if (const auto progress = jobs_.progress(id_); progress && std::cmp_not_equal(progress->attempt, at_.attempt)) co_return true;
  storage::Store::Slice slice;
  if (auto live = jobs_.live_output(id_, index, stream, told, kChunkBytes)) {
    slice = std::move(*live);
  } else {
    auto stored = store_.output(id_, index, stream, told, kChunkBytes);
    if (!stored && stored.error().kind == core::ErrorKind::not_found) co_return true;  // nothing came
    if (!stored) {
      log_unread(stored.error());
      co_return false;
    }
    slice = std::move(*stored);
  }
  if (in_characters()) {
    const bool last = ended && told + slice.bytes.size() >= slice.total_bytes;
    if (const auto whole = whole_characters(slice.bytes); !last && whole > 0) slice.bytes.resize(whole);
    else if (!last && slice.bytes.size() < 4) co_return true;  // the rest of the character is on its way
  }
  if (slice.bytes.empty()) co_return true;
  const auto offset = told;
  told += slice.bytes.size();
  more = more || told < slice.total_bytes;
  co_return co_await on_output(stream, offset, std::move(slice.bytes));
}

awaitable<bool> JobFollower::tell_state(JobPosition::Told told) {
  at_.told = told;
  co_return co_await on_state();
}

awaitable<bool> JobFollower::tell_step(std::string name, const Json* end) {
  const auto index = at_.step;
  if (end == nullptr) at_.part = JobPosition::begun;
  else next_step();
  co_return co_await on_step(index, std::move(name), end);
}

}  // namespace bailiff::server
