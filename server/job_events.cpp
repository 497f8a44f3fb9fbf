#include "server/job_events.h"

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
constexpr std::string_view kPulse = ": \n\n";

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

std::string EventPosition::text() const { return fmt::format("{}-{}-{}-{}-{}-{}", attempt, told, step, part, stdout_bytes, stderr_bytes); }

std::optional<EventPosition> EventPosition::parse(std::string_view text) {
  EventPosition position;
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

void JobEvents::begin_attempt(std::uint64_t attempt) {
  at_.attempt = attempt;
  at_.step = 0;
  at_.part = EventPosition::before;
  at_.stdout_bytes = at_.stderr_bytes = 0;
}

void JobEvents::next_step() {
  ++at_.step;
  at_.part = EventPosition::before;
  at_.stdout_bytes = at_.stderr_bytes = 0;
}

awaitable<bool> JobEvents::run(Client& client) {
  const std::vector<std::string> ids(1, id_);
  const auto watch = jobs_.watch(ids, News::everything);
  // Thousands of clients may wait here: no coroutines of their own, but a call.
  struct Leaving {
    Client& client;
    ~Leaving() { client.when_gone(nullptr); }
  };
  const Leaving leaving{client};
  client.when_gone([&watch]() { watch->end(); });
  while (true) {
    const Next next = co_await tell_known();
    if (next == Next::end) co_return true;
    if (next == Next::broken) co_return false;
    if (next == Next::again) continue;
    jobs_.tell_output(id_);
    const auto pulse = std::chrono::steady_clock::now() + bounds_.event_pulse_time;
    const auto news = co_await watch->changed(pulse);
    if (!news.empty()) continue;
    if (std::chrono::steady_clock::now() < pulse) co_return true;  // the client has left, or the server is going down
    const bool sent = co_await sink_.send(kPulse);
    if (!sent) co_return false;
  }
}

awaitable<JobEvents::Next> JobEvents::tell_known() {
  if (jobs_.progress(id_)) co_return co_await tell_running();
  const auto job = store_.get(id_);
  if (!job && job.error().kind == core::ErrorKind::not_found) co_return Next::end;  // deleted
  if (!job) {
    log_unread(job.error());
    co_return Next::broken;
  }
  if (job->state == core::JobState::finished) co_return co_await tell_finished(*job);
  // Queued, for the first time or again. Where the store says that it runs, its attempt is about to begin or to end here.
  if (job->state == core::JobState::queued && at_.told != EventPosition::queued) {
    at_.attempt = static_cast<std::uint64_t>(job->attempt);
    const bool sent = co_await tell_state(EventPosition::queued);
    co_return sent ? Next::again : Next::broken;
  }
  co_return Next::wait;
}

awaitable<JobEvents::Next> JobEvents::tell_running() {
  auto progress = jobs_.progress(id_);
  const auto attempt = static_cast<std::uint64_t>(progress->attempt);
  const auto state = progress->paused ? EventPosition::paused : EventPosition::running;
  const bool begins = at_.attempt != attempt || (at_.told != EventPosition::running && at_.told != EventPosition::paused);
  if (begins) begin_attempt(attempt);
  if (begins || at_.told != state) {
    const bool sent = co_await tell_state(state);
    co_return sent ? Next::again : Next::broken;
  }
  if (at_.step >= progress->steps.size()) co_return Next::wait;
  const auto step = std::move(progress->steps[at_.step]);
  if (at_.part == EventPosition::before) {
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

awaitable<JobEvents::Next> JobEvents::tell_finished(const storage::StoredJob& job) {
  const auto attempt = static_cast<std::uint64_t>(job.attempt);
  if (job.started_us && (at_.attempt != attempt || at_.told < EventPosition::running)) {
    begin_attempt(attempt);
    const bool sent = co_await tell_state(EventPosition::running);
    if (!sent) co_return Next::broken;
  }
  const Json steps = steps_of(job);
  while (at_.told < EventPosition::finished && at_.step < steps.size()) {
    Json end = steps[at_.step];
    const std::string name = end.value("name", "");
    if (at_.part == EventPosition::before) {
      const bool begun = co_await tell_step(name, nullptr);
      if (!begun) co_return Next::broken;
    }
    const bool told = co_await tell_output(true);
    if (!told) co_return Next::broken;
    for (const char* other : {"name", "stdout_bytes", "stderr_bytes"}) end.erase(other);
    const bool ended = co_await tell_step(name, &end);
    if (!ended) co_return Next::broken;
  }
  if (at_.told < EventPosition::finished) {
    at_.attempt = attempt;
    const bool sent = co_await tell_state(EventPosition::finished);
    if (!sent) co_return Next::broken;
  }
  const OutputPolicy policy{false, 0};
  const auto document = compose_job(job, store_, policy);
  if (!document) {
    log_unread(document.error());
    co_return Next::broken;
  }
  at_.told = EventPosition::done;
  const bool sent = co_await send("done", *document);
  co_return sent ? Next::end : Next::broken;
}

awaitable<bool> JobEvents::tell_output(bool ended) {
  for (bool more = true; more;) {
    more = false;
    const bool out = co_await tell_chunk(storage::Stream::stdout_stream, ended, more);
    if (!out) co_return false;
    const bool err = co_await tell_chunk(storage::Stream::stderr_stream, ended, more);
    if (!err) co_return false;
  }
  co_return true;
}

awaitable<bool> JobEvents::tell_chunk(storage::Stream stream, bool ended, bool& more) {
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
  const bool last = ended && told + slice.bytes.size() >= slice.total_bytes;
  if (const auto whole = whole_characters(slice.bytes); !last && whole > 0) slice.bytes.resize(whole);
  else if (!last && slice.bytes.size() < 4) co_return true;  // the rest of the character is on its way
  if (slice.bytes.empty()) co_return true;
  Json data = Json::object();
  data["step"] = at_.step;
  data["offset"] = told;
  told += slice.bytes.size();
  more = more || told < slice.total_bytes;
  data["data"] = core::content_to_json(slice.bytes);
  co_return co_await send(is_out ? "stdout" : "stderr", data);
}

awaitable<bool> JobEvents::tell_state(EventPosition::Told told) {
  at_.told = told;
  Json data = Json::object();
  data["state"] = told == EventPosition::queued ? "queued" : told == EventPosition::finished ? "finished" : "running";
  data["paused"] = told == EventPosition::paused;
  data["attempt"] = at_.attempt;
  co_return co_await send("state", data);
}

awaitable<bool> JobEvents::tell_step(const std::string& name, const Json* end) {
  Json data = Json::object();
  data["index"] = at_.step;
  data["name"] = core::to_utf8(name);
  data["state"] = end == nullptr ? "running" : "finished";
  if (end != nullptr) data.update(*end);
  if (end == nullptr) at_.part = EventPosition::begun;
  else next_step();
  co_return co_await send("step", data);
}

// JSON has no line breaks in it, so that no output can end its event and begin another.
awaitable<bool> JobEvents::send(const char* event, const Json& data) {
  const std::string text = fmt::format("id: {}\nevent: {}\ndata: {}\n\n", at_.text(), event, data.dump());
  co_return co_await sink_.send(text);
}

}  // namespace bailiff::server
