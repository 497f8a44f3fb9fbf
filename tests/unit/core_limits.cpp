#include "core/limits.h"

#include <gtest/gtest.h>

namespace bailiff::core {
namespace {

constexpr std::uint64_t Limits::* kCap = &Limits::io_read_bytes_per_s;

TEST(Limits, TheTableIsSane) {
  for (const auto& field : kLimitFields) {
    EXPECT_LE(field.order(field.floor), field.order(field.default_value)) << field.name;
    EXPECT_LE(field.order(field.default_value), field.order(field.ceiling)) << field.name;
    EXPECT_EQ(limit_index(field.name), static_cast<std::size_t>(&field - kLimitFields.data()));
  }
  EXPECT_FALSE(limit_index("memory"));
}

TEST(Limits, AtMostTakesTheCeilingWhereItIsLess) {
  Limits limits = default_limits(), ceiling = ceiling_limits();
  EXPECT_EQ(at_most(limits, ceiling), limits);
  ceiling.memory_bytes = kMiB;
  EXPECT_EQ(at_most(limits, ceiling).memory_bytes, kMiB);
}

TEST(Limits, ZeroIsTheLoosestWhereItMeansNone) {
  Limits limits = default_limits(), ceiling = ceiling_limits();
  EXPECT_EQ(limits.*kCap, 0U);
  limits.*kCap = 5 * kMiB;
  EXPECT_EQ(at_most(limits, ceiling).*kCap, 5 * kMiB) << "a ceiling of none lets everything through";
  ceiling.*kCap = 2 * kMiB;
  EXPECT_EQ(at_most(limits, ceiling).*kCap, 2 * kMiB);
  limits.*kCap = 0;
  EXPECT_EQ(at_most(limits, ceiling).*kCap, 2 * kMiB);
  limits.*kCap = kMiB;
  EXPECT_EQ(at_most(limits, ceiling).*kCap, kMiB);
  limits.memory_bytes = 0;
  EXPECT_EQ(at_most(limits, ceiling).memory_bytes, 0U) << "elsewhere 0 is the least";
}

}  // namespace
}  // namespace bailiff::core
