#include <gtest/gtest.h>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

TEST(CgroupHierarchies, V1WithEveryControllerApart) {
  const auto found = parse_hierarchies("30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                       "31 20 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
                                       "32 20 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
                                       "33 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                                       "4:memory:/a/b\n3:pids:/\n2:cpu,cpuacct:/c\n0::/x\n");
  EXPECT_FALSE(found.unified);
  EXPECT_EQ(found.memory, "/sys/fs/cgroup/memory/a/b");
  EXPECT_EQ(found.pids, "/sys/fs/cgroup/pids");
  EXPECT_EQ(found.cpu, "/sys/fs/cgroup/cpu,cpuacct/c");
  EXPECT_EQ(found.cpuacct, found.cpu);
  EXPECT_EQ(found.cpuset, "");
}

TEST(CgroupHierarchies, V2) {
  const auto found = parse_hierarchies("29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/system.slice/bailiff.service\n");
  EXPECT_TRUE(found.unified);
  EXPECT_EQ(found.memory, "/sys/fs/cgroup/system.slice/bailiff.service");
  EXPECT_EQ(found.pids, found.memory);
}

TEST(CgroupHierarchies, ContainerWhoseMountIsItsOwnGroup) {
  const auto found =
      parse_hierarchies("29 23 0:26 /docker/123 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "5:memory:/docker/123/sub\n");
  EXPECT_EQ(found.memory, "/sys/fs/cgroup/memory/sub");
}

TEST(CgroupHierarchies, None) {
  EXPECT_EQ(parse_hierarchies("", "").memory, "");
  EXPECT_EQ(parse_hierarchies("garbage\n- -\n", ":::\n").memory, "");
}

TEST(KernelFile, KeyedNumbers) {
  EXPECT_EQ(keyed_number("low 0\noom 3\noom_kill 12\n", "oom_kill"), 12U);
  EXPECT_EQ(keyed_number("oom_kill_disable 1\noom_kill 2", "oom_kill"), 2U);
  EXPECT_EQ(keyed_number("", "x"), 0U);
}

}  // namespace
}  // namespace bailiff::sandbox
