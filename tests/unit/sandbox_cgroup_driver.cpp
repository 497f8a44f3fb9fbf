// Which cgroup driver is chosen, and the refusals of one that does not fit; the bus is a socket of ours.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/fd.h"
#include "sandbox/cgroup.h"
#include "sandbox/cgroup_driver.h"

namespace bailiff::sandbox {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

/// A machine that was started by systemd or was not, with a system bus that is missing or never says a word.
class CgroupDriverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "bailiff-bus.XXXXXX";
    root_ = mkdtemp(pattern.data());
    setenv("DBUS_SYSTEM_BUS_ADDRESS", ("unix:path=" + root_ + "/bus").c_str(), 1);
  }
  void TearDown() override {
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    fs::remove_all(root_);
  }
  void start_by_systemd() { fs::create_directories(root_ + "/run/systemd/system"); }
  void listen_silently() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = root_ + "/bus";
    ASSERT_LT(path.size(), sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    bus_ = core::Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(bus_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(bus_.get(), 8), 0);
  }
  core::Result<DriverChoice> choose(CgroupDriver wanted) { return choose_cgroup_driver(wanted, root_, milliseconds(50)); }

  /// Auto and cgroupfs come to cgroupfs; systemd is refused with these words.
  void expect_no_systemd(const std::string& why, const std::string& fix) {
    for (const auto wanted : {CgroupDriver::automatic, CgroupDriver::cgroupfs}) {
      const auto choice = choose(wanted);
      ASSERT_TRUE(choice) << choice.error().what;
      EXPECT_EQ(choice->driver, CgroupDriver::cgroupfs);
      EXPECT_FALSE(choice->systemd);
      EXPECT_NE(choice->why.find(wanted == CgroupDriver::automatic ? why : "as configured"), std::string::npos) << choice->why;
    }
    const auto refused = choose(CgroupDriver::systemd);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, core::ErrorKind::unavailable);
    EXPECT_NE(refused.error().what.find(why), std::string::npos) << refused.error().what;
    EXPECT_NE(refused.error().what.find(fix), std::string::npos) << refused.error().what;
  }

  std::string root_;
  core::Fd bus_;
};

TEST_F(CgroupDriverTest, NotStartedBySystemd) { expect_no_systemd("not started by systemd", "Set cgroup.driver to cgroupfs or auto"); }

TEST_F(CgroupDriverTest, NoSystemBus) {
  start_by_systemd();
  expect_no_systemd("does not answer on the system bus: connect to the system bus: No such file", "Install and start dbus");
}

TEST_F(CgroupDriverTest, ABusThatNeverAnswers) {
  start_by_systemd();
  listen_silently();
  expect_no_systemd("does not answer on the system bus: greet the system bus: ", "Install and start dbus");
}

TEST(CgroupDriver, Names) {
  for (const auto driver : {CgroupDriver::automatic, CgroupDriver::cgroupfs, CgroupDriver::systemd})
    EXPECT_EQ(cgroup_driver_from_name(name(driver)).value(), driver);
  for (const char* wrong : {"", "automatic", "Systemd", "none"}) EXPECT_FALSE(cgroup_driver_from_name(wrong)) << wrong;
}

TEST(CgroupDriver, WhatSystemdDidNotDelegate) {
  CgroupHierarchies groups;
  groups.memory = groups.cpu = groups.cpuacct = groups.pids = "/sys/fs/cgroup/system.slice/bailiff-7.scope";
  EXPECT_EQ(missing_from_scope(groups, "bailiff-7.scope"), "");
  EXPECT_EQ(missing_from_scope(groups, "bailiff-77.scope"), "memory, cpu, cpuacct, pids");
  groups.pids = "/sys/fs/cgroup/pids";
  groups.cpuacct = "";
  EXPECT_EQ(missing_from_scope(groups, "bailiff-7.scope"), "cpuacct, pids");
}

}  // namespace
}  // namespace bailiff::sandbox
