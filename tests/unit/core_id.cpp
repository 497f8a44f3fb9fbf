#include "core/id.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace bailiff::core {
namespace {

JobIdSource source_with(std::uint64_t& now, unsigned char random) {
  return {[&now] { return now; }, [random](std::span<unsigned char> bytes) { std::ranges::fill(bytes, random); }};
}

TEST(JobId, HasTheClockAndTheRandomBitsInLowerCase) {
  std::uint64_t now = 0;
  EXPECT_EQ(source_with(now, 0xFF).next(), "0000000000zzzzzzzzzzzzzzzz");
  now = (std::uint64_t{1} << 48) - 1;
  EXPECT_EQ(source_with(now, 0).next(), "7zzzzzzzzz0000000000000000");
  now = 1'469'918'176'385;  // the example of the ULID specification
  EXPECT_EQ(source_with(now, 0).next().substr(0, 10), "01aryz6s41");
}

TEST(JobId, AscendsWithTheClockInsideAMillisecondAndWhenTheClockStepsBack) {
  std::uint64_t now = 1'000'000;
  JobIdSource source = source_with(now, 0xFF);  // the largest random part: the next one must carry into the clock's bits
  std::vector<std::string> ids;
  for (const std::uint64_t at : {1'000'000, 1'000'000, 1'000'001, 900'000, 1'000'000, 2'000'000, 0}) {
    now = at;
    ids.push_back(source.next());
  }
  EXPECT_TRUE(std::ranges::is_sorted(ids));
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
}

TEST(JobId, IsUniqueAndAscendingPerThreadAcrossThreads) {
  constexpr std::size_t kThreads = 4, kEach = 2000;
  std::vector<std::vector<std::string>> made(kThreads);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : made)
      threads.emplace_back([&mine] {
        for (std::size_t i = 0; i < kEach; ++i) mine.push_back(new_job_id());
      });
  }
  std::set<std::string> all;
  for (const auto& mine : made) {
    EXPECT_TRUE(std::ranges::is_sorted(mine));
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(all.size(), kThreads * kEach);
  EXPECT_TRUE(std::ranges::all_of(all, is_job_id));
}

TEST(JobId, TheFirstOfATimeIsNotAfterAnyOfThatTime) {
  std::uint64_t now = 1'700'000'000'000;
  JobIdSource source([&] { return now; }, [](std::span<unsigned char> bytes) { std::ranges::fill(bytes, 0); });
  EXPECT_EQ(source.next(), first_job_id_of(now));
  EXPECT_LT(source.next(), first_job_id_of(now + 1));
  EXPECT_TRUE(is_job_id(first_job_id_of(now)));
}

TEST(JobId, ShapeIsChecked) {
  EXPECT_TRUE(is_job_id("01aryz6s410000000000000000"));
  EXPECT_FALSE(is_job_id(""));
  EXPECT_FALSE(is_job_id("01aryz6s41000000000000000"));
  EXPECT_FALSE(is_job_id("01aryz6s4100000000000000000"));
  EXPECT_FALSE(is_job_id("01ARYZ6S410000000000000000"));
  EXPECT_FALSE(is_job_id("81aryz6s410000000000000000"));
  EXPECT_FALSE(is_job_id("01aryz6s41000000000000000u"));
  EXPECT_FALSE(is_job_id("../../../../../../etc/pass"));
}

}  // namespace
}  // namespace bailiff::core
