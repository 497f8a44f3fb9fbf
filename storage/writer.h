#pragma once
// The one thread that writes. It takes all writes that wait, runs each in a savepoint of one transaction, commits once and only then
// tells each caller: group commit. What waits is bounded in number and in bytes.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "storage/connection.h"
#include "storage/job_tables.h"
#include "storage/store.h"

namespace bailiff::storage {

/// One posted write: what it does, what came of it, and who is told.
class Write {
 public:
  explicit Write(std::size_t bytes) : bytes_(bytes) {}
  virtual ~Write() = default;
  /// Does it, inside a transaction; false: it failed by itself, and its savepoint goes back.
  virtual bool apply(JobTables& tables) = 0;
  /// Whatever came of it, it is this error now.
  virtual void fail(const core::Error& error) = 0;
  /// Tells the caller. Once.
  virtual void report() = 0;
  /// Memory that it holds while it waits.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
};

template <class T>
class WriteOf final : public Write {
 public:
  using Work = std::function<core::Result<T>(JobTables&)>;
  WriteOf(std::size_t bytes, Work work, Callback<T> done) : Write(bytes), work_(std::move(work)), done_(std::move(done)) {}
  bool apply(JobTables& tables) override {
    result_ = work_(tables);
    return result_.has_value();
  }
  void fail(const core::Error& error) override { result_ = std::unexpected(error); }
  void report() override { done_(std::move(result_)); }

 private:
  Work work_;
  Callback<T> done_;
  core::Result<T> result_ = core::error(core::ErrorKind::internal, "not done");
};

class Writer {
 public:
  /// Some writes start or end what was accepted before; they find room where new work is refused.
  enum class Urgency { new_work, progress };

  /// `memory_mutex`: taken around each transaction where reads use this connection as well; else null.
  Writer(std::unique_ptr<Connection> connection, const Options& options, std::mutex* memory_mutex, QueueDepth depth);
  ~Writer() { close(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// Any thread. Refused (the write reports `unavailable` before this returns) when too much waits or after close().
  void post(std::unique_ptr<Write> write, Urgency urgency);
  /// As of the last commit. Any thread.
  [[nodiscard]] QueueDepth depth() const;
  /// Does what waits, then ends the thread and closes the connection. Not from a callback.
  void close();

 private:
  using Batch = std::vector<std::unique_ptr<Write>>;
  [[nodiscard]] bool has_room(std::size_t bytes, Urgency urgency) const;
  void run();
  Batch take_batch();
  void run_batch(Batch& batch);
  void apply(Write& write, Change& change);
  void fail_all(Batch& batch, const core::Error& error);

  std::unique_ptr<Connection> connection_;
  JobTables tables_;
  const Options options_;
  std::mutex* const memory_mutex_;

  mutable std::mutex mutex_;  // of what follows, up to the thread
  std::condition_variable arrived_;
  std::deque<std::unique_ptr<Write>> waiting_;
  std::size_t waiting_bytes_ = 0;
  QueueDepth depth_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace bailiff::storage
