#pragma once
// The writes of store.h as SQL, each inside a transaction that the caller has begun. A Result's error means that the caller must roll the
// savepoint of this write back; SQLite::Exception leaves these functions.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/blob_tables.h"
#include "storage/connection.h"
#include "storage/key_table.h"
#include "storage/store.h"
#include "storage/webhook_tables.h"

namespace bailiff::storage {

/// How a write moves the queue's depth, and the webhooks that it made due; counted when its transaction is committed.
struct Change {
  std::int64_t queued = 0, running = 0, webhooks_due = 0;
  Change& operator+=(const Change& other) {
    queued += other.queued;
    running += other.running;
    webhooks_due += other.webhooks_due;
    return *this;
  }
};

[[nodiscard]] const char* stream_name(Stream stream);

class JobTables {
 public:
  /// Of a database that prepare_database() has made ready.
  explicit JobTables(Connection& connection) : connection_(connection), has_webhooks_(storage::has_webhooks(connection)) {}

  core::Result<Submitted> submit(const NewJob& job);
  core::Result<std::vector<Submitted>> submit_all(const std::vector<NewJob>& jobs);
  core::Result<std::optional<ClaimedJob>> claim(std::int64_t now_us, const PickOwner& pick);
  core::Status finish(const Finish& finish);
  core::Result<core::JobState> requeue(const std::string& id, int attempt, std::int64_t now_us);
  core::Result<Cancelled> cancel(const std::string& id, std::int64_t now_us);
  core::Status forget(const std::string& id);
  core::Result<std::size_t> forget_old(const std::string& before_id, std::int64_t finished_before_us, int most);
  core::Status record_webhook_attempt(const WebhookAttempt& attempt) { return storage::record_webhook_attempt(connection_, attempt); }
  /// At start: no job runs. Those that did are queued again, or finished where their cancel was requested.
  void recover(std::int64_t now_us);
  [[nodiscard]] QueueDepth count_depth();

  [[nodiscard]] BlobTables blobs() { return BlobTables(connection_); }
  [[nodiscard]] KeyTable keys() { return KeyTable(connection_); }

  /// What the last write changed; zero again after the call.
  [[nodiscard]] Change take_change() { return std::exchange(change_, {}); }

 private:
  std::optional<core::Result<Submitted>> submitted_before(const NewJob& job);
  std::vector<std::string> owners_queued();
  std::optional<ClaimedJob> next_of(const std::string& owner);
  core::Status insert_job(const NewJob& job);
  void insert_output(const std::string& id, const Output& output);
  void count_cpu_time(const Finish& finish);
  core::Status end_lease(const Finish& finish);
  void tell_end(const std::string& id, std::int64_t now_us);
  core::Error lease_error(const std::string& id, int attempt);

  static constexpr std::uint64_t kTurnsToTheOldest = 16;
  Connection& connection_;
  std::map<std::string, std::uint64_t> turns_;  // of an owner: jobs of its that were claimed
  bool has_webhooks_;  // some job has or had one: where nobody uses them, no end of a job looks for one
  Change change_;
};

}  // namespace bailiff::storage
