#pragma once
// A stall: one station (cgroups), its spawner, and the sandbox that is prepared or running there. A slot has two and uses them in turn.
#include <memory>
#include <optional>

#include "sandbox/cgroup.h"
#include "sandbox/init.h"
#include "sandbox/spawner.h"

namespace bailiff::sandbox {

/// A sandbox whose init waits for "go".
struct Sandbox {
  pid_t init = -1;     // child of this process
  core::Fd pidfd;
  core::Fd control;    // to init
};

class Stall {
 public:
  Stall(std::unique_ptr<Station> station, std::uint32_t id_base, const SeccompFilter& filter)
      : station_(std::move(station)), id_base_(id_base), filter_(filter) {}
  Stall(const Stall&) = delete;
  ~Stall();

  /// Begins to make a sandbox for the image whose root is `image_root`; returns without waiting for it. Does nothing when that is under
  /// way or done.
  core::Status prepare(const std::string& image_root);
  /// Waits until the sandbox is prepared. It stays owned by the stall.
  core::Result<Sandbox*> ready(const std::string& image_root);
  /// Ends a used sandbox without waiting for its death: prepare() or clear() does that later, when nobody waits.
  void discard();
  /// Kills what is left of the sandbox, reaps it and removes its groups. Harmless when there is none.
  core::Status clear();
  /// True when prepare() for this image will not have to start a spawner.
  [[nodiscard]] bool is_warm(const std::string& image_root) const { return spawner_ && image_root == image_root_; }
  [[nodiscard]] Station& station() { return *station_; }
  /// Waits for init's death after a kill; false when it did not die in time.
  [[nodiscard]] bool kill_and_reap();

 private:
  core::Status begin(const std::string& image_root);
  core::Status await_prepared();

  std::unique_ptr<Station> station_;
  std::uint32_t id_base_;
  const SeccompFilter& filter_;
  std::optional<Spawner> spawner_;
  std::string image_root_;
  Sandbox sandbox_;
  enum class State { empty, asked, ready, discarded } state_ = State::empty;
};

}  // namespace bailiff::sandbox
