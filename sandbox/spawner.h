#pragma once
// The spawner: a small process that stays in one station's groups (v1) and in one image's mount namespace, and does nothing but clone
// inits. What it clones is therefore born with the right groups and the right root, and a clone copies few mounts. The slot talks to it
// over a socket.
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "core/fd.h"
#include "core/limits.h"
#include "core/result.h"
#include "sandbox/init.h"
#include "sandbox/seccomp_filter.h"

namespace bailiff::sandbox {

/// Namespaces that clone3 makes for every init; cgroup and time namespaces it enters by itself (init.cpp says why).
extern const std::uint64_t kCloneFlags;

struct SpawnerConfig {
  std::string image_root;  // as built by build_image_root
  std::uint32_t id_base;  // host id of the sandbox's root; + 1 is the program's
  const SeccompFilter* filter;
  std::uint64_t clock_start_s;
};

/// Default signal dispositions, no signal blocked, plain priority: what somebody above us set would reach a program through fork and exec.
core::Status reset_inherited();

class Spawner {
 public:
  /// Forks the spawner and waits until it is inside the image.
  static core::Result<Spawner> start(const SpawnerConfig& config);
  Spawner(Spawner&&) noexcept = default;
  Spawner& operator=(Spawner&&) noexcept;
  /// Kills and reaps it. Sandboxes it cloned are the slot's children and live on.
  ~Spawner();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Asks for one more init, which gets the descriptors of `ends` (they stay the caller's). The answer is taken later with take_init().
  /// `clone_into`: directory of the cgroup that it is to be born in, or -1.
  core::Status request_init(const core::Limits& limits, const InitEnds& ends, int clone_into);
  /// Its pid: a child of the calling process (CLONE_PARENT).
  core::Result<pid_t> take_init();

 private:
  Spawner(pid_t pid, core::Fd socket) : pid_(pid), socket_(std::move(socket)) {}
  pid_t pid_ = -1;
  core::Fd socket_;
};

}  // namespace bailiff::sandbox
