#include "sandbox/usage_log.h"

#include <gtest/gtest.h>

namespace bailiff::sandbox {
namespace {

core::UsageSample at(std::uint64_t wall_us) { return {wall_us, wall_us, 1, 1}; }

TEST(UsageLog, KeepsEveryLookWhileThereIsRoom) {
  UsageLog log;
  EXPECT_TRUE(log.samples().empty());
  for (std::uint64_t i = 1; i < core::kMostUsageSamples; ++i) log.add(at(i));
  ASSERT_EQ(log.samples().size(), core::kMostUsageSamples - 1);
  EXPECT_EQ(log.samples().front().wall_us, 1U);
}

TEST(UsageLog, IsBoundedAndEvenOverAnyTime) {
  UsageLog log;
  constexpr std::uint64_t kLooks = 14'400;  // an hour
  for (std::uint64_t i = 1; i <= kLooks; ++i) {
    log.add(at(i));
    ASSERT_LT(log.samples().size(), core::kMostUsageSamples);
  }
  const auto& samples = log.samples();
  ASSERT_GT(samples.size(), core::kMostUsageSamples / 4);
  const auto distance = samples[1].wall_us - samples[0].wall_us;
  for (std::size_t i = 1; i < samples.size(); ++i) EXPECT_EQ(samples[i].wall_us - samples[i - 1].wall_us, distance);
  EXPECT_LE(samples.front().wall_us, distance);
  EXPECT_LT(kLooks - samples.back().wall_us, distance);
}

}  // namespace
}  // namespace bailiff::sandbox
