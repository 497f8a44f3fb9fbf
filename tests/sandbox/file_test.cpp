// Files that are too large, too many, too deep or oddly named; and what cannot be dumped.
#include <algorithm>
#include <csignal>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

TEST_F(SandboxTest, EmptyFilesStopAtTheInodeCapOfEachFileSystem) {
  for (const char* directory : {"/work", "/tmp", "/dev/shm"}) {
    const auto ran =
        attack({"empty_files", directory, "1000000"}, Verdict::ok, [](core::Limits& limits) { limits.workspace_inodes = 500; });
    EXPECT_TRUE(ran.out.ends_with(" ENOSPC\n")) << directory << ran.out;
    EXPECT_LT(std::stoi(ran.out), 500) << directory;
  }
}

TEST_F(SandboxTest, AMillionEmptyFilesAreMemory) {
  const auto ran = attack({"empty_files", "/work", "1000000"}, Verdict::memory_limit_exceeded, [](core::Limits& limits) {
    limits.workspace_inodes = 1'000'000;
    limits.memory_bytes = 24 << 20;
    limits.cpu_time_us = 60'000'000;
    limits.wall_time_us = 60'000'000;
  });
  EXPECT_LE(ran.outcome().usage.memory_peak_bytes, 24U << 20);
}

TEST_F(SandboxTest, ADeepTreeIsMadeAndGoesAway) {
  auto request = victim({"deep_tree", "10000"});
  request.limits.cpu_time_us = 20'000'000;
  request.limits.wall_time_us = 60'000'000;
  request.collect = {"**"};
  request.collect_bytes = 1 << 20;
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_EQ(ran.out, "10000\n");
  EXPECT_TRUE(ran.report->collect_truncated);
  EXPECT_TRUE(TreeReader::open(ran.report->collected.get()));
}

TEST_F(SandboxTest, ASparseFileTakesNoRoomAndObeysTheFileLimit) {
  EXPECT_EQ(attack({"sparse_file", "hole", "200"}).out, "0 blocks\n");
  const auto too_large =
      attack({"sparse_file", "hole", "200"}, Verdict::runtime_error, [](core::Limits& limits) { limits.file_bytes = 100 << 20; });
  EXPECT_EQ(too_large.outcome().signal, SIGXFSZ);
}

TEST_F(SandboxTest, OddNamesAreNames) {
  auto request = victim({"odd_names"});
  request.collect = {"out/**"};
  request.collect_bytes = 1 << 20;
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.out, "13 -1\n") << describe(ran);
  ASSERT_TRUE(ran.report->collected.valid());
  const auto tree = TreeReader::open(ran.report->collected.get());
  ASSERT_TRUE(tree) << tree.error().what;
  const auto is_file = [](const TreeEntry& entry) { return entry.kind == EntryKind::file; };
  EXPECT_EQ(std::ranges::count_if(tree->entries(), is_file), 13);
  EXPECT_FALSE(ran.report->collect_truncated);
}

TEST_F(SandboxTest, OpenFilesStopAtTheLimitForGood) {
  const auto ran = attack({"open_files"}, Verdict::ok, [](core::Limits& limits) { limits.open_files = 40; });
  EXPECT_EQ(ran.out, "raise: EPERM\n40 EMFILE\n");
}

/// 1 is the one value that keeps a core_pattern that is a pipe from being run; a program cannot have another.
TEST_F(SandboxTest, NoCoreIsDumped) {
  auto request = victim({"dump_core"});
  request.collect = {"**"};
  request.collect_bytes = 64 << 20;
  const auto ran = run(std::move(request));
  EXPECT_EQ(ran.out, "1 1\n1 1\n");
  EXPECT_EQ(ran.outcome().signal, SIGSEGV);
  const auto tree = TreeReader::open(ran.report->collected.get());
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->entries().size(), 1U);  // the victim
}

TEST_F(SandboxTest, ALargeStackWorksAndAnEndlessOneHasAClearVerdict) {
  const auto stack_of = [](std::uint64_t mib) {
    return [mib](core::Limits& limits) {
      limits.stack_bytes = mib << 20;
      limits.memory_bytes = 512 << 20;
      limits.cpu_time_us = 20'000'000;
      limits.wall_time_us = 20'000'000;
    };
  };
  attack({"use_stack", "190"}, Verdict::ok, stack_of(200));
  const auto endless = attack({"recurse"}, Verdict::runtime_error, stack_of(200));
  EXPECT_EQ(endless.outcome().signal, SIGSEGV);
  EXPECT_NE(endless.outcome().message.find("SEGV"), std::string::npos);
  attack({"recurse"}, Verdict::memory_limit_exceeded, stack_of(1024));
}

}  // namespace
}  // namespace bailiff::sandbox::testing
