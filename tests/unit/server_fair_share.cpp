// Whose job runs next.
#include "server/fair_share.h"

#include <gtest/gtest.h>

namespace bailiff::server {
namespace {

using Owners = std::vector<std::string>;

/// Runs `count` jobs, one at a time, of owners that never run dry; gives how many each had.
std::map<std::string, int> run(FairShare& shares, const Owners& owners, int count, const std::map<std::string, double>& seconds) {
  std::map<std::string, int> had;
  for (int i = 0; i < count; ++i) {
    const auto owner = shares.pick(owners);
    if (!owner) break;
    ++had[*owner];
    (void)shares.ended(*owner, seconds.at(*owner));
    shares.queued(*owner, 1);
  }
  return had;
}

class FairShareTest : public ::testing::Test {
 protected:
  void fill(const Owners& owners, std::int64_t each = 1000) {
    for (const auto& owner : owners) shares_.queued(owner, each);
  }
  FairShare shares_;
};

TEST_F(FairShareTest, EqualOwnersTakeTurns) {
  const Owners owners = {"a", "b", "c"};
  fill(owners);
  const auto had = run(shares_, owners, 300, {{"a", 1}, {"b", 1}, {"c", 1}});
  for (const auto& owner : owners) EXPECT_NEAR(had.at(owner), 100, 2) << owner;
}

TEST_F(FairShareTest, WeightsAndNotCountsDecide) {
  const Owners owners = {"a", "b"};
  shares_.set_bounds("a", {.weight = 3});
  fill(owners);
  const auto had = run(shares_, owners, 400, {{"a", 1}, {"b", 1}});
  EXPECT_NEAR(had.at("a"), 300, 5);
}

TEST_F(FairShareTest, TimeIsSharedNotJobs) {
  const Owners owners = {"long", "short"};
  fill(owners);
  const auto had = run(shares_, owners, 1100, {{"long", 10}, {"short", 1}});
  EXPECT_NEAR(had.at("long"), 100, 10);
  EXPECT_NEAR(had.at("short"), 1000, 10);
}

TEST_F(FairShareTest, ManySlotsAreNotOneOwners) {
  fill({"a", "b"});
  std::map<std::string, int> running;
  for (int slot = 0; slot < 8; ++slot) ++running[shares_.pick({"a", "b"}).value()];
  EXPECT_EQ(running["a"], 4);
  EXPECT_EQ(running["b"], 4);
}

TEST_F(FairShareTest, IdlenessEarnsNothing) {
  fill({"a"});
  run(shares_, {"a"}, 100, {{"a", 10}});
  fill({"b"});
  const auto had = run(shares_, {"a", "b"}, 100, {{"a", 10}, {"b", 10}});
  EXPECT_NEAR(had.at("a"), 50, 3);
}

TEST_F(FairShareTest, WhoHadMuchIsNotShutOut) {
  fill({"a"});
  run(shares_, {"a"}, 100, {{"a", 10}});
  fill({"b"}, 1'000'000);
  const auto had = run(shares_, {"a", "b"}, 20'000, {{"a", 10}, {"b", 0.001}});
  EXPECT_EQ(had.count("a"), 1U);
}

TEST_F(FairShareTest, ABoundOfRunningJobsHolds) {
  shares_.set_bounds("a", {.max_running = 2});
  fill({"a"});
  EXPECT_EQ(shares_.pick({"a"}), "a");
  EXPECT_EQ(shares_.pick({"a"}), "a");
  EXPECT_EQ(shares_.pick({"a"}), std::nullopt);
  EXPECT_EQ(shares_.pick({"a", "b"}), "b");
  EXPECT_TRUE(shares_.ended("a", 1));  // somebody waits for this
  EXPECT_EQ(shares_.pick({"a"}), "a");
  EXPECT_FALSE(shares_.ended("b", 1));
}

TEST_F(FairShareTest, WhatWasNotClaimedIsPutBack) {
  shares_.set_bounds("a", {.max_running = 1});
  fill({"a"}, 1);
  EXPECT_EQ(shares_.pick({"a"}), "a");
  shares_.put_back("a");
  EXPECT_EQ(shares_.pick({"a"}), "a");
}

TEST_F(FairShareTest, ABoundOfQueuedJobsHolds) {
  EXPECT_EQ(shares_.room("a"), std::nullopt);
  shares_.set_bounds("a", {.max_queued = 3});
  EXPECT_EQ(shares_.room("a"), 3U);
  shares_.queued("a", 2);
  EXPECT_EQ(shares_.room("a"), 1U);
  EXPECT_EQ(shares_.pick({"a"}), "a");
  EXPECT_EQ(shares_.room("a"), 2U);
  shares_.set_queued({{"a", 7}});
  EXPECT_EQ(shares_.room("a"), 0U);
  shares_.set_queued({});
  EXPECT_EQ(shares_.room("a"), 3U);
}

}  // namespace
}  // namespace bailiff::server
