#pragma once
// What this process knows of a job while it runs it: made by the queue, filled by the runner. io thread only.
#include <set>
#include <string>
#include <vector>

#include "core/fd.h"
#include "server/slot_pool.h"
#include "storage/store.h"

namespace bailiff::server {

struct ActiveJob {
  ActiveJob(std::string job_id, int job_attempt) : id(std::move(job_id)), attempt(job_attempt) {}
  ActiveJob(const ActiveJob&) = delete;
  ActiveJob& operator=(const ActiveJob&) = delete;

  std::string id;
  int attempt;
  bool cancelled = false;    // the client asked for its end
  bool interrupted = false;  // the server is going down: back into the queue
  [[nodiscard]] bool stopping() const { return cancelled || interrupted; }
  /// Ends what runs; call after setting one of the two.
  void stop_running() {
    for (SlotLease* lease : running) lease->cancel();
  }

  std::set<SlotLease*> running;  // leases with a step of this job in them
  /// The output files of the steps that were started, in the order of the result's steps; readable at any time.
  struct StepOutput {
    core::Fd stdout_fd, stderr_fd;
  };
  std::vector<StepOutput> step_outputs;
};

}  // namespace bailiff::server
