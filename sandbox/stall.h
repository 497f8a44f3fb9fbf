#pragma once
// A stall: one station (cgroups), its spawner, and the sandbox that is prepared or running there. A slot has two and uses them in turn.
#include <memory>
#include <optional>

#include "sandbox/cgroup.h"
#include "sandbox/disturbance.h"
#include "sandbox/init.h"
#include "sandbox/spawner.h"

namespace bailiff::sandbox {

/// A sandbox whose program waits for "go".
struct Sandbox {
  pid_t init = -1;  // child of this process
  core::Fd pidfd;
  core::Fd control, program;  // to init; to the process that becomes the program
  // The program's output. The write ends stay open here, so that a program that ends or closes them wakes nobody.
  core::Fd stdout_pipe, stderr_pipe;
  InitEnds theirs;
  core::Fd timer;  // a timerfd for whoever supervises it
  core::Fd clock_offsets;  // of its time namespace, where they can still be set; else empty
  std::uint64_t clock_offset_ns = 0;  // what the times in the program's reports are behind CLOCK_MONOTONIC
  core::Limits limits;  // what it is prepared for
};

class Stall {
 public:
  Stall(std::unique_ptr<Station> station, std::uint32_t id_base, const SeccompFilter& filter, std::uint64_t clock_start_s)
      : station_(std::move(station)), id_base_(id_base), filter_(filter), clock_start_s_(clock_start_s) {}
  Stall(const Stall&) = delete;
  ~Stall();

  /// Begins to make a sandbox for the image whose root is `image_root` and, as far as can be foreseen, these limits; returns without
  /// waiting for it. Does nothing when one for this image is under way or done.
  core::Status prepare(const std::string& image_root, const core::Limits& limits);
  /// Waits until the sandbox is prepared and its groups have their limits and baselines. It stays owned by the stall.
  core::Result<Sandbox*> ready(const std::string& image_root, const core::Limits& limits);
  /// While a sandbox is being prepared: becomes readable when ready() will not wait. Else -1.
  [[nodiscard]] int prepared_fd() const { return state_ == State::asked ? sandbox_.program.get() : -1; }
  /// Ends a used sandbox without waiting for its death: prepare() or clear() does that later, when nobody waits.
  void discard();
  /// Kills what is left of the sandbox, reaps it and removes its groups. Harmless when there is none.
  core::Status clear();
  /// Ends everything in it where the image that it stays in is not offered any more, and so lets go of the image.
  core::Status leave_gone_image();
  /// True when prepare() for this image will not have to start a spawner.
  [[nodiscard]] bool is_warm(const std::string& image_root) const { return spawner_ && image_root == image_root_; }
  [[nodiscard]] Station& station() { return *station_; }
  /// What the programs' clocks start at.
  [[nodiscard]] std::uint64_t clock_start_s() const { return clock_start_s_; }
  [[nodiscard]] const SeccompFilter& filter() const { return filter_; }
  [[nodiscard]] const HostCounters& host() const { return host_; }
  /// Waits for init's death after a kill; false when it did not die in time.
  [[nodiscard]] bool kill_and_reap();

 private:
  core::Status begin(const std::string& image_root, const core::Limits& limits);
  core::Status make_ends();
  core::Status await_prepared();
  core::Status adapt(const core::Limits& limits);

  std::unique_ptr<Station> station_;
  std::uint32_t id_base_;
  const SeccompFilter& filter_;
  std::uint64_t clock_start_s_;
  HostCounters host_;
  std::optional<Spawner> spawner_;
  std::string image_root_;
  Sandbox sandbox_;
  enum class State { empty, asked, ready, discarded } state_ = State::empty;
};

}  // namespace bailiff::sandbox
