#include "server/fair_share.h"

#include <algorithm>

namespace bailiff::server {
namespace {

constexpr double kSmoothing = 0.2;  // of the newest job in what jobs took lately

}  // namespace

void FairShare::set_bounds(const std::string& owner, OwnerBounds bounds) {
  const std::lock_guard lock(mutex_);
  owners_[owner].bounds = bounds;
}

OwnerBounds FairShare::bounds(const std::string& owner) const {
  const std::lock_guard lock(mutex_);
  const auto found = owners_.find(owner);
  return found == owners_.end() ? OwnerBounds{} : found->second.bounds;
}

std::optional<std::string> FairShare::pick(const std::vector<std::string>& owners) {
  const std::lock_guard lock(mutex_);
  Owner* first = nullptr;
  const std::string* name = nullptr;
  for (const auto& one : owners) {
    Owner& owner = owners_[one];
    if (owner.at_bound()) continue;
    const bool before = first == nullptr || owner.used < first->used || (owner.used == first->used && owner.running < first->running);
    if (!before) continue;
    first = &owner;
    name = &one;
  }
  if (first == nullptr) return std::nullopt;
  now_ = std::max(now_, first->used);
  first->used += first->lately / static_cast<double>(first->bounds.weight);
  first->charged += first->lately;
  ++first->running;
  --first->queued;
  return *name;
}

void FairShare::put_back(const std::string& owner) {
  const std::lock_guard lock(mutex_);
  Owner& of = owners_[owner];
  (void)settle(of, 0);
  ++of.queued;
}

bool FairShare::ended(const std::string& owner, double slot_seconds) {
  const std::lock_guard lock(mutex_);
  Owner& of = owners_[owner];
  of.lately += kSmoothing * (slot_seconds - of.lately);
  return settle(of, slot_seconds);
}

bool FairShare::settle(Owner& of, double slot_seconds) {
  if (of.running == 0) return false;
  const bool was_at_bound = of.at_bound();
  const double charge = of.charged / static_cast<double>(of.running);  // that of one job, as far as we remember
  of.used += (slot_seconds - charge) / static_cast<double>(of.bounds.weight);
  of.charged -= charge;
  --of.running;
  return was_at_bound;
}

std::optional<std::uint64_t> FairShare::room(const std::string& owner) const {
  const std::lock_guard lock(mutex_);
  const auto found = owners_.find(owner);
  if (found == owners_.end() || found->second.bounds.max_queued == 0) return std::nullopt;
  const auto most = static_cast<std::int64_t>(found->second.bounds.max_queued);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(most - found->second.queued, 0));
}

void FairShare::queued(const std::string& owner, std::int64_t change) {
  const std::lock_guard lock(mutex_);
  Owner& of = owners_[owner];
  if (of.queued <= 0 && of.running == 0) of.used = std::max(of.used, now_);
  of.queued += change;
}

void FairShare::set_queued(const std::map<std::string, std::uint64_t>& counts) {
  const std::lock_guard lock(mutex_);
  for (auto& [name, owner] : owners_) owner.queued = 0;
  for (const auto& [name, count] : counts) owners_[name].queued = static_cast<std::int64_t>(count);
}

}  // namespace bailiff::server
