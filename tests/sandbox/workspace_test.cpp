#include "sandbox/glob.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

TEST_F(SandboxTest, WorkspaceIsKeptOnlyWhereAsked) {
  auto first = victim({"write_file", "a.txt", "one"});
  first.keep_workspace = true;
  ASSERT_EQ(run(std::move(first)).verdict(), Verdict::ok);
  auto second = victim({"print_file", "a.txt"});
  second.trees.clear();  // the victim is in the kept workspace
  second.keep_previous_workspace = true;
  EXPECT_EQ(run(std::move(second)).out, "one");
  EXPECT_EQ(run(victim({"print_file", "a.txt"})).outcome().exit_code, ENOENT);
}

TEST_F(SandboxTest, AWorkspaceThatWasDroppedIsNotKept) {
  auto first = victim({"write_file", "a.txt", "one"});
  first.keep_workspace = true;
  ASSERT_EQ(run(std::move(first)).verdict(), Verdict::ok);
  ASSERT_TRUE(slot(0).drop_workspace());
  auto second = victim({"print_file", "a.txt"});
  second.keep_previous_workspace = true;
  EXPECT_EQ(run(std::move(second)).outcome().exit_code, ENOENT);
}

TEST_F(SandboxTest, AWorkspaceOutlivesAKilledStep) {
  auto first = victim({"write_file", "a.txt", "one", "and wait"});
  first.keep_workspace = true;
  first.limits.wall_time_us = 200'000;
  ASSERT_EQ(run(std::move(first)).verdict(), Verdict::wall_time_limit_exceeded);
  auto second = victim({"print_file", "a.txt"});
  second.trees.clear();
  second.keep_previous_workspace = true;
  EXPECT_EQ(run(std::move(second)).out, "one");
}

TEST_F(SandboxTest, CollectsWhatMatchesAndFollowsNothing) {
  auto request = victim({"plant_traps"});
  request.collect = {"out/**"};
  request.collect_bytes = 1 << 20;
  const auto ran = run(std::move(request));
  ASSERT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_TRUE(ran.report->collect_truncated);  // the sparse and the unreadable file
  const auto tree = TreeReader::open(ran.report->collected.get());
  ASSERT_TRUE(tree) << tree.error().what;
  std::set<std::string> files, links;
  for (const auto& entry : tree->entries()) {
    if (entry.kind == EntryKind::file) files.emplace(entry.path);
    if (entry.kind == EntryKind::symlink) links.emplace(entry.path);
    if (entry.path == "out/good") {
      EXPECT_EQ(entry.data, "good");
    }
  }
  EXPECT_EQ(files, (std::set<std::string>{"out/good", "out/\xff\xfe"}));
  EXPECT_EQ(links, (std::set<std::string>{"out/link", "out/up"}));  // as links, with their text
}

TEST_F(SandboxTest, CollectedFilesGoIntoAnotherWorkspace) {
  auto request = victim({"write_file", "made", "bytes"});
  request.collect = {"**"};
  request.collect_bytes = 64 << 20;
  auto ran = run(std::move(request), 0);
  ASSERT_TRUE(ran.report->collected.valid());
  EXPECT_FALSE(ran.report->collect_truncated);
  auto reader = victim({"print_file", "made"});
  reader.trees.clear();
  reader.trees.push_back(std::move(ran.report->collected));
  EXPECT_EQ(run(std::move(reader), 1).out, "bytes");
}

TEST(Glob, Matches) {
  struct Row {
    const char *pattern, *path;
    bool matches;
  };
  const Row rows[] = {{"**", "a/b/c", true},
                      {"out/**", "out/a", true},
                      {"out/**", "out/a/b", true},
                      {"out/**", "outer/a", false},
                      {"*.txt", "a.txt", true},
                      {"*.txt", "d/a.txt", false},
                      {"**/*.txt", "a.txt", true},
                      {"**/*.txt", "d/e/a.txt", true},
                      {"a/**/z", "a/z", true},
                      {"a/**/z", "a/b/c/z", true},
                      {"a/**/z", "a/b/c", false},
                      {"a/*/z", "a/b/z", true},
                      {"a/*/z", "a/b/c/z", false},
                      {"[ab]/x", "b/x", true},
                      {"a", "a/b", false},
                      {"", "a", false},
                      {"**/a/**/a/**/b", "a/a/a/a/a/a/a/a/c", false}};
  for (const auto& row : rows) EXPECT_EQ(glob_matches(row.pattern, row.path), row.matches) << row.pattern << " " << row.path;
}

TEST(Tree, RefusesUnsafePathsAndUnsealedFiles) {
  for (const char* path : {"", "/a", "a/", "..", "a/../b", "./a", "a//b"}) {
    TreeWriter tree;
    EXPECT_FALSE(tree.add_file(path, "x")) << path;
  }
  EXPECT_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_relative_path(std::string(256, 'n')));
  EXPECT_TRUE(is_safe_relative_path(std::string(255, 'n') + "/\xff"));
  const auto unsealed = output_memfd();
  EXPECT_FALSE(TreeReader::open(unsealed->get()));
  const auto garbage = sealed_memfd("garbage garbage garbage garbage");
  EXPECT_FALSE(TreeReader::open(garbage->get()));
}

}  // namespace
}  // namespace bailiff::sandbox::testing
