// A step whose standard input is a pipe or a terminal of the sandbox's own.
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <thread>

#include "tests/sandbox/beside_step.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

class InputTest : public SandboxTest {
 protected:
  /// Starts a step in slot 0 and takes the end of its input.
  void start(StepRequest request, StepInput input) {
    request.input = input;
    step_.emplace(slot(0), std::move(request));
    pollfd entry{slot(0).fd(), POLLIN, 0};
    ASSERT_EQ(poll(&entry, 1, 10'000), 1);
    auto notice = slot(0).take_notice();
    ASSERT_TRUE(notice);
    input_ = std::move(notice->input);
    ASSERT_TRUE(input_.valid());
  }
  void TearDown() override {
    step_.reset();
    input_.reset();
    SandboxTest::TearDown();
  }
  void start(const std::string& script, StepInput input) { start(shell_step(victim({}), script), input); }
  void type(std::string_view text) const { EXPECT_EQ(write(input_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size())); }
  bool printed(std::string_view text) const {
    for (int tries = 0; tries < 5'000 && !step_->out().contains(text); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return step_->out().contains(text);
  }
  std::optional<BesideStep> step_;
  core::Fd input_;
};

TEST_F(InputTest, APipeIsReadAsItComesAndEndsWhenItIsClosed) {
  start("read a; echo \"got $a\"; cat /dev/stdin; echo over >&2", StepInput::pipe);
  type("one\n");
  EXPECT_TRUE(printed("got one\n")) << step_->out();
  type("two\n");
  EXPECT_TRUE(printed("two\n")) << step_->out();
  input_.reset();
  const auto report = step_->finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, Verdict::ok) << report->outcome.message;
  EXPECT_EQ(step_->out(), "got one\ntwo\n");
}

TEST_F(InputTest, ATerminalIsTheProgramsOwn) {
  start("test -t 0 && test -t 1 && test -t 2 && tty && stty size && read a </dev/tty && echo \"got $a\" >&2; sleep 0.2; stty size; exit 3",
        StepInput::terminal);
  EXPECT_TRUE(printed("/dev/pts/0\r\n24 80\r\n")) << step_->out();
  const winsize size{50, 132, 0, 0};
  EXPECT_EQ(ioctl(input_.get(), TIOCSWINSZ, &size), 0);
  type("word\n");
  const auto report = step_->finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.exit_code, 3) << report->outcome.message;
  EXPECT_EQ(step_->out(), "/dev/pts/0\r\n24 80\r\nword\r\ngot word\r\n50 132\r\n");
}

TEST_F(InputTest, WhatIsTypedAtATerminalIsASignal) {
  start("trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.1; done", StepInput::terminal);
  ASSERT_TRUE(printed("ready"));
  type("\x03");
  const auto report = step_->finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.exit_code, 4) << report->outcome.message;
}

TEST_F(InputTest, ATerminalThatNobodyHoldsForAWhileGoesOn) {
  start("exec <&- >&- 2>&-; sleep 0.5; echo again >/dev/tty; read a </dev/tty; echo got $a >/dev/tty", StepInput::terminal);
  EXPECT_TRUE(printed("again")) << step_->out();
  type("word\n");
  const auto report = step_->finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, Verdict::ok) << report->outcome.message;
  EXPECT_TRUE(step_->out().ends_with("got word\r\n")) << step_->out();
}

// The last bytes of a terminal are on their way through the kernel when the program is dead already.
TEST_F(InputTest, AllThatAProgramPrintsOnItsTerminalIsKept) {
  for (int i = 0; i < 20; ++i) {
    start("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", StepInput::terminal);
    const auto report = step_->finish();
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_EQ(report->outcome.verdict, Verdict::ok) << report->outcome.message;
    EXPECT_TRUE(step_->out().ends_with("line 1999\r\n")) << step_->out().size();
    input_.reset();
  }
}

TEST_F(InputTest, LimitsHoldForAProgramThatWaits) {
  const auto verdict_of = [&](const std::string& script, StepInput input) {
    auto request = shell_step(victim({}), script);
    request.limits.wall_time_us = 500'000;
    request.limits.output_bytes = 10'000;
    start(std::move(request), input);
    const auto report = step_->finish();
    return report ? report->outcome.verdict : Verdict::internal_error;
  };
  EXPECT_EQ(verdict_of("cat", StepInput::pipe), Verdict::wall_time_limit_exceeded);
  EXPECT_EQ(verdict_of("yes", StepInput::terminal), Verdict::output_limit_exceeded);
  EXPECT_EQ(step_->out().size(), 10'000U);
}

TEST_F(InputTest, WhatCannotBeExecutedGivesItsInputToo) {
  auto request = victim({});
  request.argv = {"/no/such/program"};
  start(std::move(request), StepInput::terminal);
  const auto report = step_->finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.exit_code, 127);
}

TEST_F(InputTest, AStdinBesideItIsRefused) {
  auto request = victim({});
  request.stdin_fd = std::move(*sealed_memfd("x"));
  request.stdout_fd = std::move(*output_memfd());
  request.stderr_fd = std::move(*output_memfd());
  request.input = StepInput::pipe;
  const auto started = slot(0).start(request);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind, core::ErrorKind::invalid);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
