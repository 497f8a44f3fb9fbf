#pragma once
// What this process knows of a job while it runs it: made by the queue, filled by the runner. io thread only.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "server/jobs.h"
#include "server/slot_pool.h"
#include "server/wake_up.h"
#include "storage/store.h"

namespace bailiff::server {

struct ActiveJob {
  ActiveJob(std::string job_id, std::string job_owner, int job_attempt, const boost::asio::any_io_executor& executor)
      : id(std::move(job_id)), owner(std::move(job_owner)), attempt(job_attempt), resumed(executor), pause_end(executor) {}
  ActiveJob(const ActiveJob&) = delete;
  ActiveJob& operator=(const ActiveJob&) = delete;

  std::string id, owner;
  int attempt;
  std::string traceparent;  // empty: none
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  bool cancelled = false;    // the client asked for its end
  bool interrupted = false;  // the server is going down: back into the queue
  bool ended = false;        // its result is being written
  [[nodiscard]] bool stopping() const { return cancelled || interrupted; }
  /// Ends what runs; call after setting one of the two.
  void stop_running() {
    for (const auto& [lease, part] : running) lease->cancel();
    resumed.all();
  }

  bool paused = false;  // its programs stand still, and no further one starts
  void pause() {
    paused = true;
    for (const auto& [lease, part] : running) lease->pause();
  }
  void resume() {
    paused = false;
    for (const auto& [lease, part] : running) lease->resume();
    resumed.all();
  }
  WakeUp resumed;                        // or stopped
  boost::asio::steady_timer pause_end;  // when the longest pause is over

  std::map<SlotLease*, RunningPart> running;  // leases with a part of this job in them
  /// The output files of the steps that were started, in the order of the result's steps; readable at any time.
  struct StepOutput {
    core::Fd stdout_fd, stderr_fd;
    std::string name;
    std::optional<core::Outcome> outcome;  // once it has ended
    bool interactive = false;
  };
  std::vector<StepOutput> step_outputs;
  std::uint64_t cpu_us = 0;  // of all that ran in this attempt, also where its result is not kept
  /// Our end of the standard input of the interactive step while it runs; empty after its end-of-file.
  core::Fd input;
  std::function<void()> progressed;  // a step began, ended, or printed what somebody waited for
  void tell_progress() const {
    if (progressed) progressed();
  }
};

}  // namespace bailiff::server
