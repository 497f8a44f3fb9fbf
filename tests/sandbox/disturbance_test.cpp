// What a run says of itself: who used its CPU time, and whether it had its CPU to itself.
#include "sandbox/disturbance.h"

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox {
namespace {

TEST(Disturbance, PressureFiles) {
  EXPECT_EQ(parse_pressure_us("some avg10=0.00 avg60=1.25 avg300=0.31 total=155293936\nfull avg10=0.00 total=7\n"), 155293936U);
  for (const char* bad : {"", "some", "some total=", "full avg10=0.00 total=7\n", "some avg10=0\nfull total=7\n", "some total=x"})
    EXPECT_FALSE(parse_pressure_us(bad)) << bad;
}

TEST(Disturbance, StealOfAllCpus) {
  EXPECT_EQ(parse_steal_ms("cpu  57332 0 8884 20666 686 0 176 563 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n", 100), 5630U);
  EXPECT_EQ(parse_steal_ms("cpu  1 2 3 4 5 6 7 3 9 10\n", 1000), 3U);
  for (const char* bad :
       {"", "cpu", "cpu  1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7 8 9\n", "cpu0 1 2 3 4 5 6 7 8 9 10\n", "cpu  1 2 3 4 5 6 7 x 9"})
    EXPECT_FALSE(parse_steal_ms(bad, 100)) << bad;
}

TEST(Disturbance, DifferencesAreNeverNegativeAndNeverInvented) {
  const HostCounts before{100, 5000};
  EXPECT_EQ((HostCounts{130, 5001} - before).steal_ms, 30U);
  EXPECT_EQ((HostCounts{90, 5001} - before).steal_ms, 0U) << "steal may go backwards";
  EXPECT_FALSE((HostCounts{std::nullopt, 5001} - before).steal_ms);
  EXPECT_FALSE((HostCounts{130, 5001} - HostCounts{130, std::nullopt}).cpu_pressure_us);
}

TEST(Disturbance, ThisHostCountsSteal) { EXPECT_TRUE(HostCounters().look().steal_ms); }

}  // namespace

namespace testing {
namespace {

using core::Verdict;

void patient(core::Limits& limits) {
  limits.cpu_time_us = 5'000'000;
  limits.wall_time_us = 60'000'000;
}

TEST_F(SandboxTest, CpuTimeIsSplitIntoUserAndSystem) {
  const auto user = attack({"burst", "1", "300"}, Verdict::ok, patient).outcome().usage;
  EXPECT_GT(user.cpu_user_us, user.cpu_us * 7 / 10);
  const auto system = attack({"spin_in_kernel", "300"}, Verdict::ok, patient).outcome().usage;
  EXPECT_GT(system.cpu_system_us, system.cpu_us * 7 / 10);
  EXPECT_EQ(system.cpu_user_us + system.cpu_system_us, system.cpu_us);
}

TEST_F(SandboxTest, AProgramAboveItsShareOfACpuIsThrottledAndSaysSo) {
  const auto tenth_of_a_cpu = [](core::Limits& limits) {
    patient(limits);
    limits.cpus_milli = 100;
  };
  for (const char* threads : {"1", "2"}) {  // two get no more than one
    const auto ran = attack({"burst", threads, "40"}, Verdict::ok, tenth_of_a_cpu);
    // What the first and the last period let pass at once is not waited for, and each CPU may overrun its slice by a tick of the clock.
    EXPECT_GT(ran.outcome().usage.wall_us, ran.outcome().usage.cpu_us * 10 - 5 * kCpuPeriodUs) << describe(ran);
    EXPECT_GT(ran.evidence("throttled_ms"), 50) << describe(ran);
  }
}

TEST_F(SandboxTest, WhoSharesItsCpuSaysSo) {
  auto shared = config();
  shared.slot_cpus = {"0", "0"};
  auto launcher = Launcher::start(shared);
  ASSERT_TRUE(launcher) << launcher.error().what;
  auto first = launcher->next_slot(), second = launcher->next_slot();
  ASSERT_TRUE(first && second);
  const auto burst = [] {
    auto request = victim({"burst", "1", "300"});
    patient(request.limits);
    return request;
  };
  StartedStep other(*second, burst()), step(*first, burst());
  const auto ran = step.finish();
  EXPECT_EQ(other.finish().verdict(), Verdict::ok);
  ASSERT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_GT(ran.evidence("involuntary_switches"), 3) << describe(ran);
  EXPECT_GE(ran.evidence("steal_ms"), 0);
  if (HostCounters().look().cpu_pressure_us) {
    EXPECT_GT(ran.evidence("pressure_cpu_us"), 50'000) << describe(ran);
  }
}

}  // namespace
}  // namespace testing
}  // namespace bailiff::sandbox
