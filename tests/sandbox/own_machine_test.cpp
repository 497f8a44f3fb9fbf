// What can be tried only on a machine that is ours alone (tests/guest): its settings are changed, its log is read.
#include <sys/klog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
namespace fs = std::filesystem;

class OwnMachineTest : public SandboxTest {
 protected:
  void SetUp() override {
    if (std::getenv("BAILIFF_TEST_MACHINE_IS_OURS") == nullptr) GTEST_SKIP() << "missing host capability: a machine of our own";
    SandboxTest::SetUp();
  }
};

/// Where core_pattern is a pipe, the kernel runs a program of the host's, as root, whatever the limit: unless it is exactly 1.
TEST_F(OwnMachineTest, ThePipedCoreHandlerIsNotRun) {
  constexpr const char* kPattern = "/proc/sys/kernel/core_pattern";
  const std::string before = text_of(kPattern);
  const fs::path directory = "/var/bailiff-cores";
  fs::create_directories(directory);
  const auto dumped = [&] { return std::distance(fs::directory_iterator(directory), fs::directory_iterator()); };
  const auto crash_outside = [] {
    const pid_t child = fork();
    if (child == 0) _exit(raise(SIGSEGV));
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
  };
  std::ofstream(kPattern) << "|/usr/bin/touch /var/bailiff-cores/%P";
  for (std::ptrdiff_t round = 1; round <= 3; ++round) {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(attack({"dump_core"}, Verdict::runtime_error).outcome().signal, SIGSEGV);
    crash_outside();
    for (int tries = 0; tries < 5000 && dumped() < round; ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(dumped(), round) << "one for each crash outside, none for those inside";
  }
  std::ofstream(kPattern) << before;
  fs::remove_all(directory);
}

/// Lines of the kernel's log about system calls that a filter answered with death.
std::size_t lines_about_filters() {
  constexpr int kReadAll = 3;
  std::string log(1 << 20, '\0');
  log.resize(static_cast<std::size_t>(std::max(0, klogctl(kReadAll, log.data(), static_cast<int>(log.size())))));
  EXPECT_FALSE(log.empty());
  std::size_t lines = 0;
  for (auto at = log.find("type=1326"); at != log.npos; at = log.find("type=1326", at + 1)) ++lines;
  return lines;
}

TEST_F(OwnMachineTest, AForeignEntryPointWritesNothingIntoTheLog) {
  const auto before = lines_about_filters();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(attack({"call_32", "20"}, Verdict::runtime_error).outcome().signal, SIGSYS);
    EXPECT_EQ(attack({"call_x32", "39"}, Verdict::runtime_error).outcome().signal, SIGSYS);
  }
  EXPECT_EQ(lines_about_filters(), before);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
