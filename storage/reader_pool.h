#pragma once
// Read-only connections that any thread borrows for one read.
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "storage/connection.h"
#include "storage/store.h"

namespace bailiff::storage {

class ReaderPool {
 public:
  /// A connection, back in the pool when this ends.
  class Lease {
   public:
    Lease(ReaderPool& pool, std::unique_ptr<Connection> connection) : pool_(&pool), connection_(std::move(connection)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (connection_) pool_->give_back(std::move(connection_));
    }
    [[nodiscard]] Connection& connection() { return *connection_; }

   private:
    ReaderPool* pool_;
    std::unique_ptr<Connection> connection_;
  };

  /// SQLite::Exception where the database cannot be opened.
  explicit ReaderPool(const Options& options);
  ~ReaderPool() { close(); }
  ReaderPool(const ReaderPool&) = delete;
  ReaderPool& operator=(const ReaderPool&) = delete;
  /// Waits at most busy_timeout_ms for a free one. unavailable: none came free, or the pool is closed.
  core::Result<Lease> borrow();
  /// Waits for the reads that run and closes every connection.
  void close();

 private:
  void give_back(std::unique_ptr<Connection> connection);

  const Options options_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::size_t lent_ = 0;
  bool closed_ = false;
};

}  // namespace bailiff::storage
