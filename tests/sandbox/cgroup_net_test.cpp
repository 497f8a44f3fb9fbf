// Marks on packets. Run where the hierarchies net_cls and net_prio are mounted for the test (CMakeLists.txt here, tests/guest).
#include "sandbox/cgroup_net.h"

#include <fstream>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

constexpr NetMarks kMarks{0x00100001, 5};

core::Result<Launcher> start_with(const NetMarks& marks) {
  auto config = SandboxTest::config();
  config.net_marks = marks;
  return Launcher::start(config);
}

/// The program's group in the v1 hierarchy of this controller.
std::string group_of(pid_t process, std::string CgroupHierarchies::* controller) {
  const auto found = hierarchies_of(std::to_string(process));
  return found ? (*found).*controller : "";
}

TEST_F(SandboxTest, MarksWithoutTheirHierarchyAreRefusedAtTheStart) {
  const auto launcher = start_with(kMarks);
  ASSERT_FALSE(launcher);
  EXPECT_NE(launcher.error().what.find("net_cls is mounted"), std::string::npos) << launcher.error().what;
}

class NetMarksTest : public SandboxTest {};

TEST_F(NetMarksTest, EveryStepIsInAGroupWithTheMarksAndNothingIsLeft) {
  std::string net_cls, net_prio;
  {
    auto launcher = start_with(kMarks);
    ASSERT_TRUE(launcher) << launcher.error().what;
    auto slot = launcher->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    for (int station = 0; station < 2; ++station) {
      StartedStep step(*slot, victim({"sleep", "60000"}));
      net_cls = group_of(step.program(), &CgroupHierarchies::net_cls);
      net_prio = group_of(step.program(), &CgroupHierarchies::net_prio);
      EXPECT_EQ(text_of(net_cls + "/net_cls.classid"), std::to_string(kMarks.class_id) + "\n") << net_cls;
      std::ifstream priorities(net_prio + "/net_prio.ifpriomap");
      std::string interface;
      for (std::uint32_t priority = 0; priorities >> interface >> priority;) EXPECT_EQ(priority, kMarks.priority) << interface;
      EXPECT_FALSE(interface.empty()) << net_prio;
      ASSERT_TRUE(slot->cancel());
      EXPECT_EQ(step.finish().verdict(), core::Verdict::cancelled);
    }
  }
  for (const auto& group : {net_cls, net_prio}) EXPECT_FALSE(std::ifstream(group + "/cgroup.procs")) << group;
}

TEST_F(NetMarksTest, NothingIsMarkedUnlessAskedFor) {
  StartedStep step(slot(0), victim({"sleep", "60000"}));
  EXPECT_EQ(group_of(step.program(), &CgroupHierarchies::net_cls), group_of(getpid(), &CgroupHierarchies::net_cls));
  ASSERT_TRUE(slot(0).cancel());
  step.finish();
}

}  // namespace
}  // namespace bailiff::sandbox::testing
