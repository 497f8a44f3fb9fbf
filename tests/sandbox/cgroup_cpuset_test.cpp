#include "sandbox/cgroup_cpuset.h"

#include <unistd.h>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox {
namespace {

TEST(CgroupCpuset, ListsOfCpus) {
  EXPECT_EQ(parse_cpu_list("0"), std::set<unsigned>({0}));
  EXPECT_EQ(parse_cpu_list("0-2,5,7-8"), std::set<unsigned>({0, 1, 2, 5, 7, 8}));
  EXPECT_EQ(parse_cpu_list("3,1,1-2"), std::set<unsigned>({1, 2, 3}));
  for (const char* bad : {"", ",", "0,,1", "-1", "1-", "2-1", "a", "0 1", "0-99999", "0x1", "1-2-3", "99999999999"})
    EXPECT_FALSE(parse_cpu_list(bad)) << bad;
}

TEST(CgroupCpuset, OnlyCpusThatThereAre) {
  EXPECT_TRUE(check_cpus("1,3", "0-3\n"));
  EXPECT_TRUE(check_cpus("0-3", "0-3\n"));
  for (const char* bad : {"4", "0-4", "x", ""}) {
    const auto checked = check_cpus(bad, "0-3\n");
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().kind, core::ErrorKind::invalid);
  }
  EXPECT_FALSE(check_cpus("0", "\n"));
}

}  // namespace

namespace testing {
namespace {

class CpusetTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    for (const auto& capability : probe_host())
      if (capability.name == "cgroup.cpuset" && !capability.present) GTEST_SKIP() << "missing host capability: cgroup.cpuset";
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "missing host capability: a second CPU";
  }
};

TEST_F(CpusetTest, AProgramHasTheCpusOfItsSlotAndGetsNoOther) {
  auto config = SandboxTest::config();
  config.slot_cpus = {"1", "0-1"};
  auto launcher = Launcher::start(config);
  ASSERT_TRUE(launcher) << launcher.error().what;
  const char* const asked[] = {"has 1\n0: EINVAL\n1: ok\nall: ok 1\n", "has 0 1\n0: ok\n1: ok\nall: ok 0 1\n"};
  const char* const counted[] = {"1\n", "2\n"};
  for (unsigned i = 0; i < 2; ++i) {
    auto slot = launcher->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    ASSERT_EQ(slot->index(), i);
    for (int station = 0; station < 2; ++station) {
      EXPECT_EQ(StartedStep(*slot, victim({"ask_for_cpus", "2"})).finish().out, asked[i]);
      auto nproc = victim({});
      nproc.argv = {"nproc"};
      EXPECT_EQ(StartedStep(*slot, std::move(nproc)).finish().out, counted[i]);
    }
  }
}

TEST_F(CpusetTest, CpusThatThereAreNotAreRefusedAtTheStart) {
  for (const char* cpus : {"0,4095", "x"}) {
    auto config = SandboxTest::config();
    config.slot_cpus = {"", cpus};
    const auto launcher = Launcher::start(config);
    ASSERT_FALSE(launcher) << cpus;
    EXPECT_NE(launcher.error().what.find("slot_cpus"), std::string::npos) << launcher.error().what;
  }
}

}  // namespace
}  // namespace testing
}  // namespace bailiff::sandbox
