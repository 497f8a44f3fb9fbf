#pragma once
// The events of one job as a stream (Server-Sent Events, WHATWG HTML section 9.2): state, step, stdout, stderr, done.
//
// What a client has is a position, the `id` of its last event; all that is after it is found anew, from the job that runs or from the
// store. So nothing is kept for a client, a stream goes on where it broke, also after a restart, and nobody is told anything twice. Each
// attempt of a job begins anew, with a `state` that names it.
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json/json.h"
#include "server/http_bounds.h"
#include "server/http_message.h"
#include "server/jobs.h"

namespace bailiff::server {

/// What of a job's events a client has.
struct EventPosition {
  enum Told : std::uint8_t { nothing, queued, running, paused, finished, done };
  enum Part : std::uint8_t { before, begun };  // of the step: it was told that it began
  std::uint64_t attempt = 0, told = nothing;
  // The step that is being told or comes next, and how much of its output is told.
  std::uint64_t step = 0, part = before, stdout_bytes = 0, stderr_bytes = 0;

  [[nodiscard]] std::string text() const;
  /// Nothing where it is none of ours.
  [[nodiscard]] static std::optional<EventPosition> parse(std::string_view text);
};

/// One client's stream. io thread only; what is given to it outlives it.
class JobEvents {
 public:
  JobEvents(Jobs& jobs, storage::Store& store, const HttpBounds& bounds, std::string id, EventPosition position, BodySink& sink)
      : jobs_(jobs), store_(store), bounds_(bounds), id_(std::move(id)), at_(position), sink_(sink) {}
  JobEvents(const JobEvents&) = delete;
  JobEvents& operator=(const JobEvents&) = delete;
  /// Until `done` is told, the job is deleted or nobody waits any more. False: the client is gone or the store failed.
  boost::asio::awaitable<bool> run(Client& client);

 private:
  enum class Next { wait, again, end, broken };
  /// Tells what is known and not told.
  boost::asio::awaitable<Next> tell_known();
  boost::asio::awaitable<Next> tell_running();
  boost::asio::awaitable<Next> tell_finished(const storage::StoredJob& job);
  /// What there is of both streams of the present step; to its last byte where it has `ended`.
  boost::asio::awaitable<bool> tell_output(bool ended);
  boost::asio::awaitable<bool> tell_chunk(storage::Stream stream, bool ended, bool& more);
  boost::asio::awaitable<bool> tell_state(EventPosition::Told told);
  boost::asio::awaitable<bool> tell_step(const std::string& name, const core::Json* end);
  boost::asio::awaitable<bool> send(const char* event, const core::Json& data);
  void begin_attempt(std::uint64_t attempt);
  void next_step();

  Jobs& jobs_;
  storage::Store& store_;
  const HttpBounds& bounds_;
  const std::string id_;
  EventPosition at_;
  BodySink& sink_;
};

/// Bytes of `text` up to a UTF-8 character that is not all there.
[[nodiscard]] std::size_t whole_characters(std::string_view text);

}  // namespace bailiff::server
