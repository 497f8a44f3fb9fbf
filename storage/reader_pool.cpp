#include "storage/reader_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bailiff::storage {

ReaderPool::ReaderPool(const Options& options) : options_(options) {
  const std::size_t count = std::max<std::size_t>(options.readers, 1);
  idle_.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    idle_.push_back(std::make_unique<Connection>(options.path, Connection::Mode::read_only, options.busy_timeout_ms));
}

core::Result<ReaderPool::Lease> ReaderPool::borrow() {
  std::unique_lock lock(mutex_);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.busy_timeout_ms);
  returned_.wait_until(lock, deadline, [this] { return closed_ || !idle_.empty(); });
  if (closed_) return core::error(core::ErrorKind::unavailable, "the store is closed");
  if (idle_.empty()) return core::error(core::ErrorKind::unavailable, options_.path + ": too many reads at a time");
  auto connection = std::move(idle_.back());
  idle_.pop_back();
  ++lent_;
  return Lease(*this, std::move(connection));
}

void ReaderPool::give_back(std::unique_ptr<Connection> connection) {
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
    --lent_;
    // Told under the lock: close() may destroy the pool as soon as it sees the last one back.
    returned_.notify_all();
  }
}

void ReaderPool::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  returned_.notify_all();
  returned_.wait(lock, [this] { return lent_ == 0; });
  idle_.clear();
}

}  // namespace bailiff::storage
