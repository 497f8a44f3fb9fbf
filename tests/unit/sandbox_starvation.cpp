#include <gtest/gtest.h>

#include "sandbox/starvation.h"

namespace bailiff::sandbox {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kMiB = 1 << 20;

class StarvationTest : public ::testing::Test {
 protected:
  void look(std::uint64_t refaults, std::uint64_t room = 0, std::uint64_t file = 200 << 10, milliseconds after = Starvation::kLook) {
    now_ += after;
    refaults_ += refaults;
    starvation_.look({room, file, refaults_}, now_);
  }
  Starvation starvation_;

 private:
  Starvation::Time now_;
  std::uint64_t refaults_ = 1'000'000;  // of earlier steps
};

TEST_F(StarvationTest, TheFirstLookTellsNothing) {
  EXPECT_FALSE(starvation_.starved());
  look(5'000'000);
  EXPECT_FALSE(starvation_.starved());
}

TEST_F(StarvationTest, ItLastsAfterASecond) {
  look(0);
  for (int i = 0; i < 3; ++i) look(10'000);
  EXPECT_TRUE(starvation_.starved());
  EXPECT_FALSE(starvation_.lasts());
  look(10'000);
  EXPECT_TRUE(starvation_.lasts());
  look(0);
  EXPECT_FALSE(starvation_.starved() || starvation_.lasts());
}

TEST_F(StarvationTest, TheGroupIsFullAndHasHardlyAFile) {
  look(0);
  look(10'000, 2 * kMiB);
  EXPECT_FALSE(starvation_.starved()) << "there is room";
  look(1'000'000, 0, 5 * kMiB);
  EXPECT_FALSE(starvation_.starved()) << "there are files";
  look(10'000, 0, 3 * kMiB);
  EXPECT_FALSE(starvation_.starved()) << "each page is read again 52 times a second";
  look(20'000, 0, 3 * kMiB);
  EXPECT_TRUE(starvation_.starved()) << "each page is read again 104 times a second";
  look(200, 0, 0);
  EXPECT_FALSE(starvation_.starved()) << "a few";
}

TEST_F(StarvationTest, ALookTooSoonChangesNothing) {
  look(0);
  look(10'000);
  look(0, 10 * kMiB, 0, milliseconds(10));
  EXPECT_TRUE(starvation_.starved());
}

}  // namespace
}  // namespace bailiff::sandbox
