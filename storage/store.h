#pragma once
// Jobs, their results and their outputs in one SQLite database; the queue is a table.
//
// Theory of operation. One writer thread owns the only writing connection. Callers post writes; the writer takes all that wait, does
// them in one transaction (one fsync: WAL, synchronous=FULL) and only then calls each caller back. A write that fails alone (a conflict)
// fails alone: every operation runs in a savepoint. A commit that fails (full, read-only or broken disk) fails every write of its
// transaction as unavailable with nothing half-done, and the next transaction tries the disk anew. Reads use a pool of read-only
// connections and may come from any thread.
// A process holds the database by a lock on "<path>.lock", so that no second server takes its running jobs for orphans.
// Documents (request, result) are opaque JSON texts made by the server; what is searched or ordered by has columns of its own.
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/verdict.h"
#include "storage/access_key.h"
#include "storage/webhook.h"

namespace bailiff::storage {

inline constexpr std::int64_t kHourUs = 3'600'000'000;  // in which an owner's CPU time is summed up
inline constexpr const char* kDatabaseName = "bailiff.db";  // in the server's data directory

struct NewJob {
  std::string id;                       // sortable by creation (core/id.h)
  std::int64_t created_us = 0;          // Unix time
  int priority = 0;
  std::map<std::string, std::string> labels;
  std::string request;                  // JSON
  std::optional<std::string> idempotency_key;  // unique for (owner, key)
  std::string request_digest;           // of the body as sent: the same key with another digest is a conflict
  std::string owner;                    // API key id; empty: none configured
  std::optional<Webhook> webhook;       // due from the job's end on
  std::vector<std::string> blobs;       // digests of the owner's blobs that it needs; they stay as long as it does
};

struct ClaimedJob {
  std::string id;
  std::string owner;
  int attempt = 1;
  std::string request;
  std::int64_t created_us = 0;
};

enum class Stream { stdout_stream, stderr_stream };

/// Captured bytes of one step (or of one test, counted from kFirstTest).
struct Output {
  int index = 0;
  Stream stream = Stream::stdout_stream;
  std::string bytes;
};
inline constexpr int kFirstTest = 1'000'000;

/// A file that the job left.
struct Artifact {
  std::string path;                     // unique among those of a job
  std::string bytes;
};

struct Finish {
  std::string id;
  int attempt = 1;                      // must hold the lease, else conflict and nothing is written
  core::Verdict verdict = core::Verdict::internal_error;
  std::string message;
  std::string result;                   // JSON: steps, tests, score … without the output bytes
  std::vector<Output> outputs;
  std::int64_t finished_us = 0;
  std::vector<Artifact> artifacts = {};
  std::int64_t cpu_us = 0;              // of all that it ran
};

struct StoredJob {
  std::string id;
  core::JobState state = core::JobState::queued;
  std::optional<core::Verdict> verdict;
  std::string message;
  int priority = 0, attempt = 0;
  std::map<std::string, std::string> labels;
  std::int64_t created_us = 0;
  std::optional<std::int64_t> started_us, finished_us;
  std::string owner;                    // as in NewJob
  std::string request;
  std::string result;                   // empty until finished, and of a job that was cancelled outside a slot
  bool cancel_requested = false;
};

struct ListQuery {
  std::optional<core::JobState> state;
  std::optional<core::Verdict> verdict;
  std::map<std::string, std::string> labels;  // all must match
  std::optional<std::string> owner;           // not empty; nothing: of all
  std::optional<std::string> before_id;       // cursor: strictly older than this id
  int limit = 50;
};

inline constexpr std::size_t kMaxListLabels = 16;

struct QueueDepth {
  std::uint64_t queued = 0, running = 0;
};

/// Says whose job is claimed next: one of `owners`, which are those that have queued jobs, in order; nothing: none of them now. Called on
/// the writer thread, once for each claim. Must not block or throw.
using PickOwner = std::function<std::optional<std::string>(const std::vector<std::string>& owners)>;

struct Options {
  std::string path;  // database file, or ":memory:" (then reads share the writer's connection)
  int busy_timeout_ms = 5000;  // longest wait for a lock of another process, or for a free reading connection
  std::size_t max_batch = 512;  // writes in one transaction
  std::size_t max_waiting = 16'384;  // submits and cancels that wait for the writer; what ends or starts a job has room above it
  std::size_t max_waiting_bytes = 512U << 20;  // of requests, results and outputs that wait
  std::size_t readers = 4;  // read-only connections
  /// Told of each commit on the writer thread: how long the transaction took, and its writes. Must not block, throw or close().
  std::function<void(std::chrono::microseconds took, std::size_t writes)> on_commit = {};
  /// Told, in the same way, after each commit that made a webhook due.
  std::function<void()> on_webhook_due = {};
};

/// Called on the writer thread, after the commit (or with why there was none). A write refused at once, since too much waits or the
/// store is closed, is called back (unavailable) on the posting thread, before the post returns. Must not block, throw or close().
template <class T>
using Callback = std::function<void(core::Result<T>)>;

struct Submitted {
  std::string id;
  bool existed = false;
};

/// A blob that begins. Others' blobs are not there for an owner, also where the bytes are the same.
struct NewBlob {
  std::string owner, digest;            // "sha256:<hex>", which the caller has proven
  std::uint64_t bytes = 0;
  std::int64_t now_us = 0;
  std::uint64_t most_bytes = 0;         // that all blobs of all owners may have, with this one
};

struct Cancelled {
  core::JobState state = core::JobState::finished;
  bool ended_now = false;  // this call took it out of the queue
  std::string owner;
};

/// Of all jobs and blobs of one owner.
struct OwnerUse {
  std::uint64_t stored_bytes = 0;
  std::uint64_t cpu_us = 0;             // of its jobs that ended in the present hour of the clock (UTC)
};

class Store {
 public:
  /// A part of some bytes, and how many there are in all.
  struct Slice {
    std::string bytes;
    std::uint64_t total_bytes = 0;
  };

  /// Opens or creates, migrates, and puts every job that was running back into the queue (cancelled ones are finished as cancelled).
  /// Refuses, with the reason, a corrupt database, one of a newer schema, one that is not Bailiff's and one that another process holds.
  static core::Result<std::unique_ptr<Store>> open(const Options& options);
  virtual ~Store() = default;

  /// conflict: the idempotency key was used with another digest, or the id exists; invalid: the owner has no such blob.
  virtual void submit(NewJob job, Callback<Submitted> done) = 0;
  /// All of them in one transaction, or none: `id`s in the order of the jobs. conflict: of one of them, as submit().
  virtual void submit_all(std::vector<NewJob> jobs, Callback<std::vector<Submitted>> done) = 0;
  /// The next queued job of the owner that `pick` names, by priority (higher first), then age, and each 16th time of that owner by age
  /// alone, so that none waits for ever: now running, its attempt one higher. Nothing where the queue is empty or none was picked.
  virtual void claim(std::int64_t now_us, PickOwner pick, Callback<std::optional<ClaimedJob>> done) = 0;
  virtual void finish(Finish finish, Callback<void> done) = 0;
  /// Back into the queue (a slot died, a drain). The attempt must hold the lease. One whose cancel was requested is finished as
  /// cancelled instead: its end is certain, so it must not run again. Gives its state: queued or finished.
  virtual void requeue(std::string id, int attempt, Callback<core::JobState> done) = 0;
  /// A queued job is finished as cancelled at once; a running one is marked and its state returned, so the caller can stop it;
  /// a finished one is left as it is. not_found for an unknown id.
  virtual void cancel(std::string id, std::int64_t now_us, Callback<Cancelled> done) = 0;

  /// A finished job goes, with its request, result, outputs, labels, webhook and idempotency key. not_found; conflict: it is not finished.
  virtual void forget(std::string id, Callback<void> done) = 0;

  /// At most `most` of the finished jobs whose id is before `before_id` and that ended before that time, the oldest first, go as by
  /// forget(). Gives how many.
  virtual void forget_old(std::string before_id, std::int64_t finished_before_us, int most, Callback<std::size_t> done) = 0;

  /// conflict: the id exists.
  virtual void add_key(AccessKey key, Callback<void> done) = 0;
  /// It stays, as revoked since then. not_found; one that was revoked before keeps its time.
  virtual void revoke_key(std::string id, std::int64_t now_us, Callback<void> done) = 0;
  /// All of them, the oldest first, those that were revoked too.
  virtual core::Result<std::vector<AccessKey>> keys() = 0;

  /// not_found: the webhook is not due, or gone with its job.
  virtual void record_webhook_attempt(WebhookAttempt attempt, Callback<void> done) = 0;
  /// A blob comes in pieces, so that no other write waits long, and is there when it has ended. It gives the number of the upload; what did
  /// not end is gone at the next start. conflict: there would be too many bytes, or the owner has it already.
  virtual void begin_blob(NewBlob blob, Callback<std::int64_t> done) = 0;
  virtual void add_blob_piece(std::int64_t upload, std::uint64_t offset, std::string bytes, Callback<void> done) = 0;
  virtual void end_blob(std::int64_t upload, Callback<void> done) = 0;
  virtual void drop_blob(std::int64_t upload, Callback<void> done) = 0;
  /// Not to be forgotten for a while. Gives whether the owner has it.
  virtual void use_blob(std::string owner, std::string digest, std::int64_t now_us, Callback<bool> done) = 0;
  /// At most `most` of the blobs that no job needs and that were used last before that time. Gives how many.
  virtual void forget_blobs(std::int64_t used_before_us, int most, Callback<std::size_t> done) = 0;
  /// Bytes [offset, offset + length) of a blob, and its whole size. not_found.
  virtual core::Result<Slice> blob(const std::string& owner, const std::string& digest, std::uint64_t offset, std::uint64_t length) = 0;
  /// The same of a job's artifact.
  virtual core::Result<Slice> artifact(const std::string& id, const std::string& path, std::uint64_t offset, std::uint64_t length) = 0;

  virtual core::Result<StoredJob> get(const std::string& id) = 0;
  /// Whose it is. not_found.
  virtual core::Result<std::string> owner(const std::string& id) = 0;
  /// What an owner takes at that time; of the empty one nothing is known.
  virtual core::Result<OwnerUse> use_of(const std::string& owner, std::int64_t now_us) = 0;
  /// Jobs that are queued, by owner; none that has none.
  virtual core::Result<std::map<std::string, std::uint64_t>> queued_by_owner() = 0;
  /// Newest first, at most `limit`. invalid: more than kMaxListLabels labels.
  virtual core::Result<std::vector<StoredJob>> list(const ListQuery& query) = 0;
  /// Whether a job has that idempotency key.
  virtual core::Result<bool> knows_key(const std::string& owner, const std::string& key) = 0;
  /// Bytes [offset, offset + length) of an output; not_found where there is none.
  virtual core::Result<Slice> output(const std::string& id, int index, Stream stream, std::uint64_t offset, std::uint64_t length) = 0;
  virtual core::Result<QueueDepth> depth() = 0;
  /// The id that has `count` jobs after it; nothing where there are no more than `count`. Takes a time that grows with `count`.
  virtual core::Result<std::optional<std::string>> id_before_newest(std::uint64_t count) = 0;
  /// When the oldest queued job was created, in Unix microseconds; nothing where none is queued.
  virtual core::Result<std::optional<std::int64_t>> oldest_queued_us() = 0;
  /// not_found: there is no such job, or it has no webhook.
  virtual core::Result<StoredWebhook> webhook(const std::string& job_id) = 0;
  /// Takes a time that grows with the number of due webhooks whose origins have their share under way.
  virtual core::Result<DueWebhooks> due_webhooks(const DueQuery& query) = 0;
  /// Webhooks of ended jobs that are neither delivered nor given up. Takes a time that grows with the answer.
  virtual core::Result<std::uint64_t> pending_webhooks() = 0;
  /// Runs what was posted, commits, closes. No callback comes after it returns; reads fail as unavailable. Once from one thread.
  virtual void close() = 0;
};

}  // namespace bailiff::storage
