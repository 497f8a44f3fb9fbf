#pragma once
// What a step used over its time, in bounded space: when there are too many looks, every second one goes, and of those that come as many.
#include <vector>

#include "core/outcome.h"

namespace bailiff::sandbox {

class UsageLog {
 public:
  void add(const core::UsageSample& sample);
  [[nodiscard]] const std::vector<core::UsageSample>& samples() const { return samples_; }

 private:
  std::vector<core::UsageSample> samples_;
  std::size_t every_ = 1, left_out_ = 0;
};

}  // namespace bailiff::sandbox
