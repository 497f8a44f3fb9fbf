#include "storage/writer.h"

#include <algorithm>
#include <utility>

namespace bailiff::storage {
namespace {

constexpr std::size_t kProgressRoom = 4096;        // writes of Urgency::progress beyond max_waiting
constexpr std::size_t kMaxBatchBytes = 32U << 20;  // one transaction's documents and outputs; a single larger one goes alone

// Unsigned arithmetic wraps, so that a negative change subtracts.
std::uint64_t moved(std::uint64_t depth, std::int64_t change) { return depth + static_cast<std::uint64_t>(change); }

}  // namespace

Writer::Writer(std::unique_ptr<Connection> connection, const Options& options, std::mutex* memory_mutex, QueueDepth depth)
    : connection_(std::move(connection)), tables_(*connection_), options_(options), memory_mutex_(memory_mutex), depth_(depth),
      thread_([this] { run(); }) {}

bool Writer::has_room(std::size_t bytes, Urgency urgency) const {
  if (urgency == Urgency::progress) return waiting_.size() < options_.max_waiting + kProgressRoom;
  return waiting_.size() < options_.max_waiting && waiting_bytes_ + bytes <= options_.max_waiting_bytes;
}

void Writer::post(std::unique_ptr<Write> write, Urgency urgency) {
  const char* refusal = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      refusal = "the store is closed";
    } else if (!has_room(write->bytes(), urgency)) {
      refusal = "too many writes wait for the disk";
    } else {
      waiting_bytes_ += write->bytes();
      waiting_.push_back(std::move(write));
    }
  }
  if (refusal == nullptr) {
    arrived_.notify_one();
    return;
  }
  write->fail({core::ErrorKind::unavailable, refusal, 0});
  write->report();
}

QueueDepth Writer::depth() const {
  const std::lock_guard lock(mutex_);
  return depth_;
}

void Writer::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  arrived_.notify_one();
  if (!thread_.joinable()) return;
  thread_.join();
  connection_.reset();
}

// Empty only when the store closes and nothing waits any more.
Writer::Batch Writer::take_batch() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
  Batch batch;
  std::size_t bytes = 0;
  while (!waiting_.empty() && batch.size() < std::max<std::size_t>(options_.max_batch, 1)) {
    const std::size_t next = waiting_.front()->bytes();
    if (!batch.empty() && bytes + next > kMaxBatchBytes) break;
    bytes += next;
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  waiting_bytes_ -= bytes;
  return batch;
}

void Writer::run() {
  while (true) {
    Batch batch = take_batch();
    if (batch.empty()) break;
    run_batch(batch);
    for (auto& write : batch) {
      write->report();
      write.reset();
    }
  }
}

void Writer::run_batch(Batch& batch) {
  std::unique_lock<std::mutex> memory_lock;
  if (memory_mutex_ != nullptr) memory_lock = std::unique_lock(*memory_mutex_);
  Change change;
  const auto began = std::chrono::steady_clock::now();
  try {
    connection_->run("BEGIN IMMEDIATE");
    for (auto& write : batch) apply(*write, change);
    connection_->run("COMMIT");
  } catch (const SQLite::Exception& fault) {
    core::Error error = error_of(fault, options_.path);
    error.kind = core::ErrorKind::unavailable;
    fail_all(batch, error);
    return;
  } catch (const std::exception& fault) {
    fail_all(batch, {core::ErrorKind::unavailable, options_.path + ": " + fault.what(), 0});
    return;
  }
  if (options_.on_commit) {
    const auto took = std::chrono::steady_clock::now() - began;
    options_.on_commit(std::chrono::duration_cast<std::chrono::microseconds>(took), batch.size());
  }
  if (change.webhooks_due > 0 && options_.on_webhook_due) options_.on_webhook_due();
  const std::lock_guard lock(mutex_);
  depth_ = {moved(depth_.queued, change.queued), moved(depth_.running, change.running)};
}

// A fault of this write alone is its own result; one that took the transaction with it leaves, for the whole batch.
void Writer::apply(Write& write, Change& change) {
  connection_->run("SAVEPOINT one_write");
  bool applied = false;
  try {
    applied = write.apply(tables_);
  } catch (const SQLite::Exception& fault) {
    if (!connection_->in_transaction()) throw;
    write.fail(error_of(fault, options_.path));
  }
  const Change of_this = tables_.take_change();
  if (applied) {
    change += of_this;
  } else {
    connection_->run("ROLLBACK TO one_write");
  }
  connection_->run("RELEASE one_write");
}

void Writer::fail_all(Batch& batch, const core::Error& error) {
  (void)tables_.take_change();
  try {
    if (connection_->in_transaction()) connection_->run("ROLLBACK");
  } catch (const SQLite::Exception&) {
    // The next BEGIN meets the same fault and reports it.
  }
  for (auto& write : batch) write->fail(error);
}

}  // namespace bailiff::storage
