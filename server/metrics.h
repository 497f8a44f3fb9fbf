#pragma once
// What the server counts of itself, for Prometheus. Events are told as they happen, from any thread; what can be looked up (the queue, the
// slots) is looked up when somebody asks. docs/operations.md has each series and what to watch.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/verdict.h"
#include "storage/store.h"

namespace bailiff::server {

class Metrics {
 public:
  /// How things stand while somebody asks.
  struct Now {
    bool ready = false;
    storage::QueueDepth depth;
    std::optional<std::chrono::microseconds> oldest_queued;  // its age; nothing: none is queued
    std::uint64_t slots_idle = 0, slots_busy = 0, slots_dead = 0;
    std::uint64_t webhooks_pending = 0;
  };

  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  void jobs_accepted(std::uint64_t count);
  /// For the first time, so long after it was accepted.
  void job_started(std::chrono::microseconds waited);
  /// Its last attempt took so long.
  void job_finished(core::Verdict verdict, std::chrono::microseconds ran);
  void job_requeued();
  void jobs_forgotten(std::uint64_t count);
  /// The time from handing a step to a slot until its report came, beyond the program's own.
  void step_ran(std::chrono::microseconds overhead);
  void committed(std::chrono::microseconds took, std::uint64_t writes);
  void answered(unsigned status);
  /// An attempt was made; pending: there will be another one.
  void webhook_attempted(storage::WebhookState outcome);

  /// Prometheus' text format, version 0.0.4.
  [[nodiscard]] std::string text(const Now& now);

 private:
  struct Series;
  const std::unique_ptr<Series> series_;
};

}  // namespace bailiff::server
