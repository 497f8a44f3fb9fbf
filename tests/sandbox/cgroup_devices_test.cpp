#include "sandbox/cgroup_devices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/kernel_file.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox {
namespace {

/// What the program answers: an interpreter of the few instructions that it may have.
int answer_of(const std::vector<bpf_insn>& program, const bpf_cgroup_dev_ctx& context) {
  std::array<std::uint64_t, 11> registers{};
  for (std::size_t at = 0; at < program.size(); ++at) {
    const auto& insn = program[at];
    auto& target = registers.at(insn.dst_reg);
    switch (insn.code) {
      case BPF_LDX | BPF_MEM | BPF_W: {
        std::uint32_t word = 0;
        std::memcpy(&word, reinterpret_cast<const char*>(&context) + insn.off, sizeof word);
        target = word;
        break;
      }
      case BPF_ALU64 | BPF_K | BPF_AND: target &= static_cast<std::uint64_t>(insn.imm); break;
      case BPF_ALU64 | BPF_K | BPF_MOV: target = static_cast<std::uint64_t>(insn.imm); break;
      case BPF_JMP | BPF_K | BPF_JEQ: at += target == static_cast<std::uint64_t>(insn.imm) ? static_cast<std::size_t>(insn.off) : 0; break;
      case BPF_JMP | BPF_K | BPF_JNE: at += target != static_cast<std::uint64_t>(insn.imm) ? static_cast<std::size_t>(insn.off) : 0; break;
      case BPF_JMP | BPF_EXIT: return static_cast<int>(registers[0]);
      default: ADD_FAILURE() << "unknown instruction " << static_cast<int>(insn.code); return -1;
    }
  }
  ADD_FAILURE() << "the program runs off its end";
  return -1;
}

bool is_listed(std::uint32_t major, std::uint32_t minor) {
  bool listed = major == kTerminalMajor || (major == kTerminalMaker.major && minor == kTerminalMaker.minor);
  for (const auto& node : kDeviceNodes) listed = listed || (node.major == major && node.minor == minor);
  return listed;
}

TEST(CgroupDevices, ProgramAllowsReadingAndWritingWhatIsListedAndNothingElse) {
  const auto program = device_program();
  int allowed = 0;
  for (std::uint32_t major = 0; major <= 300; ++major)
    for (std::uint32_t minor = 0; minor <= 300; ++minor)
      for (std::uint32_t kind : {BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR})
        for (std::uint32_t access = 0; access <= 7; ++access) {
          const bool wanted = kind == BPF_DEVCG_DEV_CHAR && (access & BPF_DEVCG_ACC_MKNOD) == 0 && is_listed(major, minor);
          ASSERT_EQ(answer_of(program, {access << 16 | kind, major, minor}), wanted ? 1 : 0) << major << ":" << minor << " " << access;
          allowed += wanted ? 1 : 0;
        }
  EXPECT_EQ(allowed, 4 * (6 + 1 + 301));
}

TEST(CgroupDevices, KernelTakesTheProgram) {
  const auto program = device_program();
  if (geteuid() != 0) GTEST_SKIP() << "missing host capability: root";
  EXPECT_TRUE(device_programs_work());
}

}  // namespace

namespace testing {
namespace {

struct Attempt {
  mode_t kind;
  unsigned major, minor;
  bool allowed;
};

/// In a child that is a member of `group`, at a node made before: errno of open, or of mknod where `make` is set; -1: could not be tried.
int errno_in(const std::string& group, const std::string& path, const Attempt& attempt, bool make) {
  const pid_t child = fork();
  if (child == 0) {
    if (!write_kernel_file(group + "/cgroup.procs", std::to_string(getpid()))) _exit(255);
    errno = 0;
    if (make) (void)mknod((path + ".made").c_str(), attempt.kind | 0600, makedev(attempt.major, attempt.minor));
    else (void)open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    _exit(errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

TEST_F(SandboxTest, EveryDeviceOfDevWorks) {
  auto request = victim({"use_devices"});
  request.limits.cpu_time_us = request.limits.wall_time_us = 60'000'000;  // the first reader of random on a young machine waits for it
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.out, "null: ok\nzero: ok\nfull: ok\nrandom: ok\nurandom: ok\nptmx: ok\npts: ok\ntty: ok\n") << describe(ran);
}

// Inside there is no node to try and none can be made, so the tries are those of a root outside in the same group.
TEST_F(SandboxTest, GroupAllowsTheDevicesOfDevAndNoOther) {
  auto request = victim({"sleep", "60000"});
  request.limits.wall_time_us = 60'000'000;
  StartedStep step(slot(0), std::move(request));
  ASSERT_GT(step.program(), 0);
  const std::string group = step.group(&ControllerPaths::devices);
  const std::string directory = "/dev/bailiff-test." + std::to_string(getpid());  // where nodes are not refused by the mount
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  std::vector<Attempt> attempts = {{S_IFCHR, 1, 1, false}, {S_IFCHR, 1, 2, false},    {S_IFCHR, 1, 4, false},    {S_IFCHR, 1, 11, false},
                                   {S_IFCHR, 5, 1, false}, {S_IFCHR, 10, 200, false}, {S_IFCHR, 10, 232, false}, {S_IFBLK, 1, 3, false},
                                   {S_IFBLK, 7, 0, false}, {S_IFBLK, 254, 0, false},  {S_IFBLK, 8, 0, false},    {S_IFCHR, 4, 0, false},
                                   {S_IFCHR, 5, 2, true}};
  for (const auto& node : kDeviceNodes) attempts.push_back({S_IFCHR, node.major, node.minor, true});
  for (const auto& attempt : attempts) {
    const std::string path = directory + "/node";
    ASSERT_EQ(mknod(path.c_str(), attempt.kind | 0600, makedev(attempt.major, attempt.minor)), 0) << strerror(errno);
    if (!group.empty()) {
      const int fault = errno_in(group, path, attempt, false);
      EXPECT_EQ(fault == EPERM, !attempt.allowed) << attempt.major << ":" << attempt.minor << " errno " << fault;
      EXPECT_NE(fault, -1);
      EXPECT_EQ(errno_in(group, path, attempt, true), EPERM) << "mknod " << attempt.major << ":" << attempt.minor;
    }
    unlink(path.c_str());
  }
  rmdir(directory.c_str());
  ASSERT_TRUE(slot(0).cancel());
  EXPECT_EQ(step.finish().verdict(), core::Verdict::cancelled);
  if (group.empty()) GTEST_SKIP() << "missing host capability: cgroup.devices";
}

}  // namespace
}  // namespace testing
}  // namespace bailiff::sandbox
