#include <csignal>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

TEST_F(SandboxTest, ExitCodes) {
  for (const int code : {0, 1, 2, 42, 255}) {
    const auto ran = run(victim({"exit", std::to_string(code)}));
    EXPECT_EQ(ran.verdict(), code == 0 ? Verdict::ok : Verdict::runtime_error) << describe(ran);
    EXPECT_EQ(ran.outcome().exit_code, code);
    EXPECT_FALSE(ran.outcome().signal);
  }
}

TEST_F(SandboxTest, SignalsThatItEarnedItself) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGKILL, SIGXCPU, SIGXFSZ, SIGSYS, SIGPIPE, SIGTERM}) {
    const auto ran = run(victim({"signal", std::to_string(signal)}));
    EXPECT_EQ(ran.verdict(), Verdict::runtime_error) << describe(ran);
    EXPECT_EQ(ran.outcome().signal, signal);
    EXPECT_FALSE(ran.outcome().exit_code);
  }
}

TEST_F(SandboxTest, StandardInput) {
  EXPECT_EQ(run(victim({"read_stdin"})).verdict(), Verdict::ok);  // none given: end-of-file at once
  for (const std::string& bytes : {std::string(), std::string("a\0b\xff no newline", 15), std::string(300'000, 'z')}) {
    auto request = victim({"cat"});
    request.stdin_fd = std::move(*sealed_memfd(bytes));
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    EXPECT_EQ(ran.out, bytes);
  }
  auto unread = victim({"exit", "0"});
  unread.stdin_fd = std::move(*sealed_memfd(std::string(1 << 20, 'u')));
  EXPECT_EQ(run(std::move(unread)).verdict(), Verdict::ok);
  // It ends before the program has enough, and cannot be written to.
  auto early = victim({"read_more_than", "10"});
  early.stdin_fd = std::move(*sealed_memfd("five\n"));
  EXPECT_EQ(run(std::move(early)).out, "5 bytes, then end-of-file; written: EBADF; by path: EPERM\n");
}

TEST_F(SandboxTest, ChildThatOutlivesItsParentIsEnded) {
  const auto ran = run(victim({"daemonize"}));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_FALSE(ran.out.empty());
}

TEST_F(SandboxTest, CancelEndsARunningStep) {
  auto request = victim({"sleep", "60000"});
  request.limits.wall_time_us = 60'000'000;
  request.stdout_fd = std::move(*output_memfd());
  request.stderr_fd = std::move(*output_memfd());
  ASSERT_TRUE(slot(0).start(request));
  ASSERT_TRUE(slot(0).cancel());
  const auto report = slot(0).finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, Verdict::cancelled);
  // One that comes too late changes nothing for the next step.
  ASSERT_TRUE(slot(0).cancel());
  EXPECT_EQ(run(victim({"exit", "0"})).verdict(), Verdict::ok);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
