#include <map>
#include <sstream>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

TEST_F(SandboxTest, SeesOnlyItself) {
  EXPECT_EQ(run(victim({"list_pids"})).out, "0\n");
  EXPECT_EQ(run(victim({"list_fds"})).out, "0 1 2 \n");
  EXPECT_EQ(run(victim({"environment"})).out, "PATH=/usr/bin:/bin\n");
  const auto identity = run(victim({"identity"})).out;
  EXPECT_EQ(identity.substr(0, identity.rfind(' ')), "uid 1000 gid 1000 pid 2 host bailiff cwd /work uptime");
  EXPECT_LT(std::stol(identity.substr(identity.rfind(' ') + 1)), 3) << identity;
  std::istringstream groups(run(victim({"print_file", "/proc/self/cgroup"})).out);
  for (std::string line; std::getline(groups, line);) EXPECT_TRUE(line.ends_with(":/")) << line;
}

TEST_F(SandboxTest, ForbiddenCallsFail) {
  const auto ran = run(victim({"forbidden_calls"}));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  std::istringstream lines(ran.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto result = line.substr(line.find(": ") + 2);
    const bool refused = result == "EPERM" || result == "ENOSYS" || result == "EROFS" || result == "EACCES";
    EXPECT_TRUE(refused) << line;
  }
  EXPECT_EQ(count, 46);
}

TEST_F(SandboxTest, NoNetworkButItsOwnLoopback) {
  std::istringstream lines(run(victim({"network"})).out);
  std::map<std::string, std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    const auto cut = line.find_first_of(": ");
    seen[line.substr(0, cut)] = line.substr(line.find(' ') + 1);
  }
  EXPECT_EQ(seen["lo"], "up");
  EXPECT_EQ(seen["interfaces"], "lo ");
  for (const char* address : {"10.0.0.1", "169.254.169.254", "192.0.2.1"}) EXPECT_EQ(seen[address], "ENETUNREACH") << address;
  EXPECT_EQ(seen["bind_loopback"], "ok");
}

TEST_F(SandboxTest, NothingOfAnEarlierStepIsSeen) {
  for (int i = 0; i < 6; ++i)
    for (unsigned slot_index = 0; slot_index < 2; ++slot_index) EXPECT_EQ(run(victim({"leave_marks"}), slot_index).out, "new\n") << i;
}

TEST_F(SandboxTest, HostFilesAreNotThere) {
  for (const char* path : {"/root", "/home", "/var", "/run", "/sys", "/boot", "/etc/shadow", "/etc/ssh", "/work/../root"})
    EXPECT_NE(run(victim({"print_file", path})).outcome().exit_code, 0) << path;
  for (const char* path : {"/proc/cmdline", "/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/modules"}) {
    const auto ran = run(victim({"print_file", path}));
    EXPECT_TRUE(ran.out.empty()) << path;
  }
  EXPECT_EQ(run(victim({"print_file", "/proc/sys/kernel/random/boot_id"})).out, "00000000-0000-4000-8000-000000000000\n");
}

}  // namespace
}  // namespace bailiff::sandbox::testing
