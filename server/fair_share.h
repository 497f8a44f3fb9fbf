#pragma once
// Whose job runs next: fair between owners (API keys) by weight, whatever each of them has queued, and within the bound of each.
//
// Start-time fair queueing (Goyal, Vin, Cheng 1996) over the time that jobs hold slots. Each owner has a virtual time: what it has used,
// divided by its weight. The owner with the least goes first. A job is charged when it is picked, with what the owner's jobs took lately,
// and set right when it has ended; so an owner cannot take every slot before its first job is paid for. Who comes back after a while
// without jobs begins at the virtual time of the last pick: idleness earns nothing. It starts anew with the process.
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace bailiff::server {

struct OwnerBounds {
  std::uint64_t weight = 1;
  std::uint64_t max_queued = 0, max_running = 0;  // 0: none
  std::uint64_t max_stored_bytes = 0, max_cpu_ms_per_hour = 0;  // likewise; kept here, held by who accepts jobs
};

/// Any thread: the store picks on its own.
class FairShare {
 public:
  /// From now on, for an owner; who has none has weight 1 and no bounds.
  void set_bounds(const std::string& owner, OwnerBounds bounds);

  /// The owner whose job goes next, of those that have queued ones; one of its jobs runs from now on, until ended() or put_back(). Nothing
  /// where each has as many running as it may.
  std::optional<std::string> pick(const std::vector<std::string>& owners);
  /// What pick() said was not done.
  void put_back(const std::string& owner);
  /// A job of its ended, or went back into the queue, after it held slots for so long. True where the owner was at its bound: another of
  /// its jobs may be waiting for this.
  [[nodiscard]] bool ended(const std::string& owner, double slot_seconds);

  [[nodiscard]] OwnerBounds bounds(const std::string& owner) const;
  /// How many more of its jobs may be queued; nothing: as many as there is room for.
  [[nodiscard]] std::optional<std::uint64_t> room(const std::string& owner) const;
  void queued(const std::string& owner, std::int64_t change);
  /// Counted anew.
  void set_queued(const std::map<std::string, std::uint64_t>& counts);

 private:
  struct Owner {
    OwnerBounds bounds;
    double used = 0;  // virtual time, in seconds of a slot at weight 1
    double lately = kFirstGuess;  // seconds that its jobs took, smoothed
    double charged = 0;  // seconds that the jobs that run were charged with, in all
    std::uint64_t running = 0;
    std::int64_t queued = 0;
    [[nodiscard]] bool at_bound() const { return bounds.max_running > 0 && running >= bounds.max_running; }
  };
  static bool settle(Owner& of, double slot_seconds);
  static constexpr double kFirstGuess = 0.1;

  mutable std::mutex mutex_;
  std::map<std::string, Owner> owners_;
  double now_ = 0;  // the greatest virtual time at which one was picked
};

}  // namespace bailiff::server
