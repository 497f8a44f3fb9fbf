#pragma once
// The supervision of one program, from "go" to its last byte of output: limits, out-of-memory events, cancel, and the account.
#include <functional>

#include "sandbox/client.h"
#include "sandbox/stall.h"

namespace bailiff::sandbox {

struct StepFds {
  std::string request_bytes;  // empty where `request` holds them
  core::Fd request, stdout_memfd, stderr_memfd, stdin_memfd;  // stdin_memfd may be empty
  std::vector<core::Fd> trees;
};

/// Runs `request` in a prepared sandbox whose /work is mounted. `caller` is watched for a cancel message and for its end. An Error is a
/// failure of ours. Afterwards nothing in the sandbox but init may be alive; the stall is to be discarded or cleared. `meanwhile` is
/// called once, right after the program was told to start.
core::Result<core::Outcome> supervise(Stall& stall, Sandbox& sandbox, const StepRequest& request, const StepFds& fds, int caller,
                                      const std::function<void()>& meanwhile);

}  // namespace bailiff::sandbox
