// A running sandbox as the kernel shows it.
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "sandbox/exec_message.h"
#include "tests/sandbox/beside_step.h"

namespace bailiff::sandbox::testing {
namespace {

std::uint64_t inode_of(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_ino;
}

TEST_F(SandboxTest, InspectTellsOfNamespaces) {
  BesideStep step(slot(0), victim({"hide_behind_a_name"}), "ready");
  const auto seen = inspect(slot(0));
  ASSERT_TRUE(seen) << seen.error().what;
  std::map<std::string, Inspection::Namespace> by_type;
  for (const auto& one : seen->namespaces) by_type[one.type] = one;
  ASSERT_EQ(by_type.size(), 8U);
  ASSERT_EQ(seen->processes.size(), 2U);
  const std::string program = "/proc/" + std::to_string(seen->processes[1].host_pid) + "/ns/";
  for (const char* type : {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"}) {
    const auto& one = by_type[type];
    EXPECT_EQ(one.inode, inode_of(program + type)) << type;
    EXPECT_NE(one.inode, inode_of(std::string("/proc/self/ns/") + type)) << type;
    EXPECT_EQ(one.owner_uid, 0U) << type;
    const bool hierarchical = std::string_view(type) == "user" || std::string_view(type) == "pid";
    EXPECT_EQ(one.parent_inode, hierarchical ? inode_of(std::string("/proc/self/ns/") + type) : 0) << type;
    EXPECT_EQ(one.owner_inode, std::string_view(type) == "user" ? inode_of("/proc/self/ns/user") : by_type["user"].inode) << type;
  }
}

// Two processes spin for a while, then one holds 20 MB and waits.
TEST_F(SandboxTest, UseOverTimeIsToldWhileItRunsAndInTheEnd) {
  auto request = shell_step(
      victim({}), "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done & wait; a=$(yes | head -c 20000000); echo held; (sleep 1; :) & wait");
  request.limits.cpu_time_us = 60'000'000;
  request.limits.memory_bytes = 256 << 20;
  BesideStep step(slot(1), std::move(request), "held");
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  const auto seen = inspect(slot(1));
  ASSERT_TRUE(seen) << seen.error().what;
  const auto report = step.finish();
  ASSERT_TRUE(report) << report.error().what;
  const auto& now = seen->samples;
  const auto& all = report->outcome.samples;
  ASSERT_GE(now.size(), 2U);
  ASSERT_GT(all.size(), now.size());
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_GT(all[i].wall_us, all[i - 1].wall_us);
    EXPECT_GE(all[i].cpu_us, all[i - 1].cpu_us);
  }
  for (std::size_t i = 0; i < now.size(); ++i) EXPECT_EQ(now[i].wall_us, all[i].wall_us);
  EXPECT_GT(all.back().memory_bytes, 20'000'000U);
  EXPECT_LE(all.back().memory_bytes, 256U << 20);
  EXPECT_GE(all.back().processes, 2U) << "a shell and sleep";
  EXPECT_LE(all.back().wall_us, report->outcome.usage.wall_us);
  EXPECT_LE(all.back().cpu_us, report->outcome.usage.cpu_us);
  EXPECT_GT(all.back().cpu_us, 0U);
}

TEST_F(SandboxTest, InspectTellsOfGroupsAndProcesses) {
  const auto idle = inspect(slot(1));
  ASSERT_FALSE(idle);
  EXPECT_EQ(idle.error().kind, core::ErrorKind::conflict) << idle.error().what;
  BesideStep step(slot(1), victim({"hide_behind_a_name"}), "ready");
  const auto seen = inspect(slot(1));
  ASSERT_TRUE(seen) << seen.error().what;
  int ours = 0;
  for (const auto& group : seen->groups) ours += group.path.contains("/bailiff." + std::to_string(launcher().pid()) + "/slot1") ? 1 : 0;
  EXPECT_GT(ours, 0);
  EXPECT_GT(seen->memory_bytes, 4096U);
  EXPECT_LT(seen->memory_bytes, 64U << 20);
  EXPECT_GE(seen->processes_now, 2U);
  EXPECT_FALSE(seen->truncated);
  ASSERT_EQ(seen->processes.size(), 2U);
  EXPECT_EQ(seen->processes[0].pid, 1);
  EXPECT_EQ(seen->processes[1].pid, 2);
  EXPECT_EQ(seen->processes[1].name, "a\n\x1b[2J\xff)");
  for (const auto& process : seen->processes) EXPECT_GT(process.host_pid, 1);
}

TEST_F(SandboxTest, ManyLooksDoNotDisturbTheStep) {
  auto request = victim({"spin", "500"});
  BesideStep step(slot(0), std::move(request));
  int looks = 0;
  while (inspect(slot(0))) ++looks;
  EXPECT_GT(looks, 3);
  const auto report = step.finish();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.verdict, core::Verdict::ok) << report->outcome.message;
  // Were each look on the step's account, it would have far more than it asked for; an emulated CPU adds a lot of its own.
  EXPECT_LT(report->outcome.usage.cpu_us, 900'000U);
}

Inspection full_inspection() {
  Inspection inspection;
  inspection.namespaces = {{"user", 1, 2, 3, 4}, {"pid", 5, 6, 7, 8}};
  inspection.groups = {{"cpu,cpuacct", "/a"}, {"", "/b"}};
  inspection.memory_bytes = 9;
  inspection.processes_now = 10;
  inspection.processes = {{11, 12, std::string("a\0b", 3)}};
  inspection.truncated = true;
  return inspection;
}

TEST(ExecMessage, SurvivesTheTrip) {
  const auto bytes = encode_inspection(full_inspection());
  const auto decoded = decode_inspection(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(encode_inspection(*decoded), bytes);
  EXPECT_EQ(decoded->processes.at(0).name, std::string("a\0b", 3));
  const ExecRequest request{{"a", "b c"}, {"K=V"}, true, 33, 44};
  const auto exec = decode_exec(encode_exec(request));
  ASSERT_TRUE(exec);
  EXPECT_EQ(exec->argv, request.argv);
  EXPECT_EQ(exec->env, request.env);
  EXPECT_TRUE(exec->terminal);
  EXPECT_EQ(exec->rows, 33);
  EXPECT_EQ(exec->columns, 44);
}

TEST(ExecMessage, EveryTruncationAndFlipIsRefusedOrSafe) {
  const auto inspection = encode_inspection(full_inspection()), request = encode_exec({{"a", "b c"}, {"K=V"}, true, 33, 44});
  for (std::size_t size = 0; size < inspection.size(); ++size) EXPECT_FALSE(decode_inspection(inspection.substr(0, size))) << size;
  for (std::size_t size = 0; size < request.size(); ++size) EXPECT_FALSE(decode_exec(request.substr(0, size))) << size;
  for (const auto& bytes : {inspection, request})
    for (std::size_t at = 0; at < bytes.size(); ++at)
      for (const char flip : {'\x01', '\x80', '\xff'}) {
        auto changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ flip);
        const auto seen = decode_inspection(changed);
        const auto exec = decode_exec(changed);
        EXPECT_LE(seen ? seen->processes.size() : 0, bytes.size());
        EXPECT_LE(exec ? exec->argv.size() : 0, bytes.size());
      }
}

}  // namespace
}  // namespace bailiff::sandbox::testing
