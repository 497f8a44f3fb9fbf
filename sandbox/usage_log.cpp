#include "sandbox/usage_log.h"

namespace bailiff::sandbox {

void UsageLog::add(const core::UsageSample& sample) {
  if (++left_out_ < every_) return;
  left_out_ = 0;
  samples_.push_back(sample);
  if (samples_.size() < core::kMostUsageSamples) return;
  // The last one stays, so that what comes next is as far from it as they are from one another.
  std::vector<core::UsageSample> kept;
  for (std::size_t i = 1; i < samples_.size(); i += 2) kept.push_back(samples_[i]);
  samples_ = std::move(kept);
  every_ *= 2;
}

}  // namespace bailiff::sandbox
