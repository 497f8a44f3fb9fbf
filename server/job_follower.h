#pragma once
// Follows one job from where a client stands to its end: states, steps, output, in order, each once.
//
// What a client has is a position; all that is after it is found anew, from the job that runs or from the store. So nothing is kept for a
// client, and one goes on where it broke, also after a restart. Each attempt of a job begins anew. Who follows derives from this and is
// called for what there is to tell.
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json/json.h"
#include "server/jobs.h"

namespace bailiff::server {

/// What of a job a client has.
struct JobPosition {
  enum Told : std::uint8_t { nothing, queued, running, paused, finished, done };
  enum Part : std::uint8_t { before, begun };  // of the step: it was told that it began
  std::uint64_t attempt = 0, told = nothing;
  // The step that is being told or comes next, and how much of its output is told.
  std::uint64_t step = 0, part = before, stdout_bytes = 0, stderr_bytes = 0;

  [[nodiscard]] std::string text() const;
  /// Nothing where it is none of ours.
  [[nodiscard]] static std::optional<JobPosition> parse(std::string_view text);
};

/// io thread only; what is given to it outlives it.
class JobFollower {
 public:
  JobFollower(Jobs& jobs, storage::Store& store, std::string id, JobPosition position)
      : jobs_(jobs), store_(store), id_(std::move(id)), at_(position) {}
  JobFollower(const JobFollower&) = delete;
  JobFollower& operator=(const JobFollower&) = delete;
  virtual ~JobFollower() = default;

 protected:
  enum class End {
    told,    // done() was told
    gone,    // the job is deleted
    left,    // the watch was ended: nobody waits any more, or the server is going down
    broken,  // the store failed, or a call below gave false
  };
  /// Until one of these. on_silence() is called where there was nothing to tell for `pulse`.
  boost::asio::awaitable<End> follow(JobWatch& watch, std::chrono::milliseconds pulse);

  // What there is to tell. `at()` is the position behind it. False ends it.
  virtual boost::asio::awaitable<bool> on_state() = 0;
  /// `end`: the outcome in the fields of the API; null where the step begins.
  virtual boost::asio::awaitable<bool> on_step(std::uint64_t index, std::string name, const core::Json* end) = 0;
  virtual boost::asio::awaitable<bool> on_output(storage::Stream stream, std::uint64_t offset, std::string bytes) = 0;
  /// The job's document without outputs.
  virtual boost::asio::awaitable<bool> on_done(core::Json document) = 0;
  virtual boost::asio::awaitable<bool> on_silence() = 0;
  /// At each look at the job, before what is new is told.
  virtual boost::asio::awaitable<bool> on_look() { co_return true; }
  /// Whether output is told in whole UTF-8 characters, else as it comes.
  [[nodiscard]] virtual bool in_characters() const { return false; }

  [[nodiscard]] const JobPosition& at() const { return at_; }
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] Jobs& jobs() { return jobs_; }

 private:
  enum class Next { wait, again, end, gone, broken };
  /// Tells what is known and not told.
  boost::asio::awaitable<Next> tell_known();
  boost::asio::awaitable<Next> tell_running();
  boost::asio::awaitable<Next> tell_finished(const storage::StoredJob& job);
  /// What there is of both streams of the present step; to its last byte where it has `ended`.
  boost::asio::awaitable<bool> tell_output(bool ended);
  boost::asio::awaitable<bool> tell_chunk(storage::Stream stream, bool ended, bool& more);
  boost::asio::awaitable<bool> tell_state(JobPosition::Told told);
  boost::asio::awaitable<bool> tell_step(std::string name, const core::Json* end);
  void begin_attempt(std::uint64_t attempt);
  void next_step();

  Jobs& jobs_;
  storage::Store& store_;
  const std::string id_;
  JobPosition at_;
};

/// Bytes of `text` up to a UTF-8 character that is not all there.
[[nodiscard]] std::size_t whole_characters(std::string_view text);

}  // namespace bailiff::server
