#pragma once
// The life of jobs inside bailiffd: accept, queue, run in slots, store, wake those who wait. HTTP sits on top of this door and of
// nothing below it. All on the io thread (one asio::io_context run by one thread); only storage has threads of its own.
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/result.h"
#include "sandbox/client.h"
#include "storage/store.h"

namespace bailiff::server {

struct SlotInfo {
  unsigned index = 0;
  bool alive = false;
  std::string job_id;  // empty: idle
};

/// What of a job runs in a slot: one of its steps or tests.
struct RunningPart {
  bool is_test = false;
  std::size_t index = 0;  // among its steps or tests
  std::string name;
  auto operator<=>(const RunningPart&) const = default;
};

/// The sandbox of a part, as the kernel shows it.
struct RunningSandbox {
  RunningPart part;
  unsigned slot = 0;
  sandbox::Inspection inspection;
};

/// What this process knows of a job that it runs: its attempt, and the steps that were started, in order. Tests are not among them.
struct Progress {
  struct Step {
    std::string name;
    std::optional<core::Outcome> outcome;  // nothing: it runs
    bool interactive = false;
  };
  int attempt = 1;
  std::vector<Step> steps;
  bool paused = false;
};

/// Waits for news of some jobs. One coroutine uses it.
class JobWatch {
 public:
  virtual ~JobWatch() = default;
  /// The jobs that may have changed since the last call; waits for the first of them. Empty: the time is over, or, before that, end() was
  /// called or the server is going down.
  virtual boost::asio::awaitable<std::vector<std::string>> changed(std::chrono::steady_clock::time_point deadline) = 0;
  /// Nobody waits any longer: changed() is empty, now and from now on.
  virtual void end() = 0;
};
enum class News { ends, everything };

/// What keeps an owner from having another job accepted.
enum class Quota { none, queued_jobs, stored_bytes, cpu_time, unknown };  // unknown: the store cannot be read now

class Jobs {
 public:
  virtual ~Jobs() = default;

  /// Durable when it returns. `job.id` and `job.created_us` are filled in here. conflict: idempotency key used with another body;
  /// invalid: a blob that it needs is gone; unavailable: the queue or the owner's share of it is full, draining, or the disk
  /// is.
  virtual boost::asio::awaitable<core::Result<storage::Submitted>> submit(storage::NewJob job) = 0;
  /// Several jobs of one owner in one transaction: as many of them, from the first, as there is room for (those that an idempotency key
  /// knows take none); those are in the answer, in order. Else as submit().
  virtual boost::asio::awaitable<core::Result<std::vector<storage::Submitted>>> submit_all(std::vector<storage::NewJob> jobs) = 0;
  /// Of that owner's, the quota that has no room: for another job, or for `more_bytes` to be stored.
  virtual Quota exhausted(const std::string& owner, std::uint64_t more_bytes = 0) const = 0;
  /// Must not outlive this object.
  virtual std::unique_ptr<JobWatch> watch(const std::vector<std::string>& ids, News news) = 0;
  /// Nothing where this process does not run it now.
  virtual std::optional<Progress> progress(const std::string& id) const = 0;
  /// The next output of the job's running step is news of it, once, and so is what came since the last time.
  virtual void tell_output(const std::string& id) = 0;
  /// Forgets a finished job. not_found; conflict: it is not finished; unavailable.
  virtual boost::asio::awaitable<core::Status> forget(std::string id) = 0;
  /// True as soon as the job is finished; false when the time is over (or the id is unknown).
  virtual boost::asio::awaitable<bool> wait_finished(std::string id, std::chrono::milliseconds at_most) = 0;
  /// Idempotent. The state after the call (running: the end is on its way).
  virtual boost::asio::awaitable<core::Result<core::JobState>> cancel(std::string id) = 0;

  /// Stops the programs of a running job, or lets them go on. Idempotent. not_found; conflict: the job is not running.
  virtual core::Status set_paused(const std::string& id, bool paused) = 0;
  /// Jobs that are paused now.
  virtual std::set<std::string> paused() const = 0;

  /// Output of a step that still runs: bytes [offset, …) captured so far; nothing when that step is not running here.
  virtual std::optional<storage::Store::Slice> live_output(const std::string& id, int step, storage::Stream stream, std::uint64_t offset,
                                                           std::uint64_t length) = 0;

  /// Of what runs of a job now; of several tests, of the first of them. not_found; conflict: nothing of it runs now.
  virtual boost::asio::awaitable<core::Result<RunningSandbox>> inspect(std::string id) = 0;
  /// A command beside it. Also invalid: it cannot be executed, with a text for the client; unavailable: the sandbox takes no more.
  virtual boost::asio::awaitable<core::Result<sandbox::ExecSession>> exec(std::string id, sandbox::ExecRequest request) = 0;

  /// A descriptor of its own for the standard input of the interactive step that runs: of a pipe, non-blocking, or of a terminal's master.
  /// not_found: there is none now, or it was closed.
  virtual core::Result<core::Fd> input_of(const std::string& id) = 0;
  /// End-of-file for that step, once the caller has closed its own.
  virtual void close_input(const std::string& id) = 0;

  virtual std::vector<SlotInfo> slots() const = 0;
  virtual bool ready() const = 0;  // slots are up, storage writes, not draining
};

}  // namespace bailiff::server
