// Output by every way that the kernel has: at the cap, one byte over it, for ever.
#include "sandbox/socket.h"
#include "tests/sandbox/beside_step.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

constexpr std::uint64_t kCap = 100'000;

void cap_output(core::Limits& limits) {
  limits.output_bytes = kCap;
  limits.wall_time_us = 20'000'000;
}

TEST_F(SandboxTest, OutputFloodsByEveryWay) {
  struct Row {
    const char* stream;
    std::uint64_t bytes;  // 0: for ever
    bool out_over, err_over;
  };
  const Row rows[] = {
      {"both", kCap, false, false}, {"out", kCap + 1, true, false}, {"err", kCap + 1, false, true}, {"both", 0, true, true}};
  for (const char* way : {"write", "writev", "vmsplice", "splice", "tee", "sendfile", "reopening"})
    for (const auto& [stream, bytes, out_over, err_over] : rows) {
      SCOPED_TRACE(std::string(way) + " " + stream + " " + std::to_string(bytes));
      const bool is_over = out_over || err_over;
      const auto ran =
          attack({"flood", way, stream, std::to_string(bytes)}, is_over ? Verdict::output_limit_exceeded : Verdict::ok, cap_output);
      const bool out_truncated = ran.outcome().stdout_truncated, err_truncated = ran.outcome().stderr_truncated;
      EXPECT_EQ(out_truncated || err_truncated, is_over);
      EXPECT_LE(out_truncated, out_over);
      EXPECT_LE(err_truncated, err_over);
      // What is over the cap is kept up to it; a stream that was not told to be used is empty.
      EXPECT_LE(ran.out.size(), stream == std::string("err") ? 0 : kCap);
      EXPECT_LE(ran.err.size(), stream == std::string("out") ? 0 : kCap);
      EXPECT_EQ(std::max(ran.out.size(), ran.err.size()), kCap);
    }
}

TEST_F(SandboxTest, StdoutMayBeClosedAndOpenedAgain) { EXPECT_EQ(attack({"reopen_stdout"}).out, "again\n"); }

TEST_F(SandboxTest, AChildThatWritesOnIsEndedWithItsParent) {
  const auto drip = attack({"child_writes_on"});
  EXPECT_NE(drip.out.find("parent\n"), drip.out.npos);
  auto flood = victim({"child_writes_on", "flood"});
  flood.limits.output_bytes = kCap;
  const auto ran = run(std::move(flood));
  EXPECT_TRUE(ran.verdict() == Verdict::ok || ran.verdict() == Verdict::output_limit_exceeded) << describe(ran);
  EXPECT_LE(ran.out.size(), kCap);
}

TEST_F(SandboxTest, WritingToAClosedSocketForEverHoldsNothingUp) {
  attack({"write_to_closed_socket"}, Verdict::time_limit_exceeded, [](core::Limits& limits) {
    limits.cpu_time_us = 200'000;
    limits.wall_time_us = 20'000'000;
  });
}

TEST_F(SandboxTest, OutputIsToldOnceForEachQuestion) {
  constexpr std::chrono::milliseconds kSoon(5000), kNever(300);
  Slot& teller = slot(0);
  const auto told = [&](std::chrono::milliseconds at_most) { return wait_readable(teller.fd(), at_most) && teller.take_notice(); };
  BesideStep step(teller, shell_step(victim({}), "echo 1; sleep 1; echo 2; sleep 1; echo 3; sleep 60"), "1\n");
  EXPECT_FALSE(told(kNever)) << "nobody asked";
  ASSERT_TRUE(teller.tell_output());
  EXPECT_TRUE(told(kSoon)) << "of what came before";
  ASSERT_TRUE(teller.tell_output());
  EXPECT_TRUE(told(kSoon)) << "of what comes";
  EXPECT_EQ(step.out(), "1\n2\n");
  EXPECT_FALSE(told(std::chrono::milliseconds(3000))) << "of the third line without a question";
  EXPECT_EQ(step.out(), "1\n2\n3\n");
  ASSERT_TRUE(teller.tell_output());
  EXPECT_TRUE(told(kSoon));
  ASSERT_TRUE(teller.tell_output());
  const auto report = step.cancel();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.verdict, Verdict::cancelled);
  ASSERT_TRUE(teller.tell_output()) << "nothing runs: none comes";
  EXPECT_FALSE(told(kNever));
}

}  // namespace
}  // namespace bailiff::sandbox::testing
