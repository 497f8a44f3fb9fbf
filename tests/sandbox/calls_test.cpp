// A victim makes each call that programs must not have, and each must fail, with its own errno and no other.
#include <sys/syscall.h>

#include <csignal>

#include "tests/sandbox/calls.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

class CallsTest : public SandboxTest {
 protected:
  static void refuse(const std::vector<Call>& calls) {
    auto request = victim({"calls"});
    request.stdin_fd = std::move(*sealed_memfd(script_of(calls)));
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    expect_refused(ran.out, calls);
  }
};

TEST_F(CallsTest, NamespacesAreRefused) { refuse(namespace_calls()); }
TEST_F(CallsTest, MountsAndFileSystemsAreRefused) { refuse(mount_calls()); }
TEST_F(CallsTest, KernelAndClocksAreRefused) { refuse(kernel_calls()); }
TEST_F(CallsTest, ProcessesIdsAndPrioritiesAreRefused) { refuse(process_calls()); }
TEST_F(CallsTest, FilesAndDevicesAreRefused) { refuse(file_calls()); }

TEST_F(CallsTest, WhatWouldReachTheHostsDisksDoesNothing) { refuse(quiet_calls()); }

TEST_F(CallsTest, ForeignEntryPointsKill) {
  // getpid, write and unshare of the 32-bit table; the same of x32.
  for (const char* number : {"20", "4", "310"}) {
    const auto ran = attack({"call_32", number}, Verdict::runtime_error);
    EXPECT_EQ(ran.outcome().signal, SIGSYS) << number << describe(ran);
  }
  for (const int number : {SYS_getpid, SYS_write, SYS_unshare, 520}) {
    const auto ran = attack({"call_x32", std::to_string(number)}, Verdict::runtime_error);
    EXPECT_EQ(ran.outcome().signal, SIGSYS) << number << describe(ran);
  }
}

TEST_F(CallsTest, ATracerCannotSmuggleACallPastTheFilter) { EXPECT_EQ(attack({"rewrite_system_call"}).out, "unshare: EPERM\n"); }

TEST_F(CallsTest, NoInputIsPushedIntoATerminalOfItsOwn) {
  EXPECT_EQ(attack({"push_terminal_input"}).out, "TIOCSTI: EPERM\nTIOCSTI: EPERM\nTIOCSTI: EPERM\nTIOCLINUX: EPERM\n");
}

}  // namespace
}  // namespace bailiff::sandbox::testing
