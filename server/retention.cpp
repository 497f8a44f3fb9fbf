#include "server/retention.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <limits>

#include "core/clock.h"
#include "core/id.h"
#include "server/async_result.h"
#include "server/log.h"

namespace bailiff::server {

namespace asio = boost::asio;
using std::chrono::steady_clock;

void Retention::start() {
  if (options_.max_age.count() > 0 || options_.max_jobs > 0 || options_.blob_age.count() > 0) asio::co_spawn(io_, run(), asio::detached);
}

void Retention::stop() {
  stopped_ = true;
  timer_.cancel();
}

asio::awaitable<void> Retention::run() {
  while (!stopped_) {
    co_await sweep();
    co_await pause(options_.every);
  }
}

asio::awaitable<void> Retention::pause(steady_clock::duration time) {
  if (stopped_) co_return;
  timer_.expires_after(time);
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> Retention::sweep() {
  if (options_.max_age.count() > 0) {
    const auto latest = core::unix_us() - std::chrono::microseconds(options_.max_age).count();
    if (latest > 0) co_await forget_before(core::first_job_id_of(static_cast<std::uint64_t>(latest) / 1000), latest);
  }
  if (options_.max_jobs > 0) {
    // The first that goes has max_jobs after it; forget_before() takes what comes before an id, so that is the next one's.
    const auto bound = [this]() { return store_.id_before_newest(options_.max_jobs - 1); };
    const auto id = co_await offload(threads_, bound);
    if (!id) log_warn("cannot count the jobs", {{"why", id.error()}});
    if (id && *id) co_await forget_before(**id, std::numeric_limits<std::int64_t>::max());
  }
  if (options_.blob_age.count() > 0) co_await forget_blobs();
}

asio::awaitable<void> Retention::forget_blobs() {
  std::uint64_t all = 0;
  for (std::size_t count = 1; count > 0 && !stopped_;) {
    const auto began = steady_clock::now();
    const auto before = core::unix_us() - std::chrono::microseconds(options_.blob_age).count();
    auto start = [&](auto done) { store_.forget_blobs(before, options_.most, std::move(done)); };
    const auto forgotten = co_await from_callback<core::Result<std::size_t>>(std::move(start));
    if (!forgotten) {
      log_warn("cannot delete old blobs", {{"why", forgotten.error()}});
      break;
    }
    count = *forgotten;
    all += count;
    if (count > 0) co_await pause(steady_clock::now() - began);
  }
  if (all > 0) log_info("old blobs deleted", {{"blobs", all}});
}

asio::awaitable<void> Retention::forget_before(std::string id, std::int64_t finished_before_us) {
  std::uint64_t all = 0;
  for (std::size_t count = 1; count > 0 && !stopped_;) {
    const auto began = steady_clock::now();
    auto start = [&](auto done) { store_.forget_old(id, finished_before_us, options_.most, std::move(done)); };
    const auto forgotten = co_await from_callback<core::Result<std::size_t>>(std::move(start));
    if (!forgotten) {
      log_warn("cannot delete old jobs", {{"why", forgotten.error()}});
      break;
    }
    count = *forgotten;
    all += count;
    metrics_.jobs_forgotten(count);
    if (count > 0) co_await pause(steady_clock::now() - began);
  }
  if (all > 0) log_info("old jobs deleted", {{"jobs", all}});
}

}  // namespace bailiff::server
