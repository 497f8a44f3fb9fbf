// What may stand where a result is expected: it is never followed, never waited for, never more than was asked for.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "sandbox/collect.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
namespace fs = std::filesystem;

/// What a tree has at each path: "file TEXT", "link TEXT" or "directory".
std::map<std::string, std::string> contents(const core::Fd& collected) {
  std::map<std::string, std::string> all;
  const auto tree = TreeReader::open(collected.get());
  EXPECT_TRUE(tree) << tree.error().what;
  if (!tree) return all;
  for (const auto& entry : tree->entries()) {
    const std::string data(entry.data.substr(0, 100));
    all[std::string(entry.path)] = entry.kind == EntryKind::file      ? "file " + data
                                   : entry.kind == EntryKind::symlink ? "link " + data
                                                                      : "directory";
  }
  return all;
}

class CollectTest : public SandboxTest {
 protected:
  static Ran collect_after(const std::vector<std::string>& words, const std::string& glob, std::uint64_t bytes = 1 << 20,
                           const std::function<void(core::Limits&)>& limit = {}) {
    auto request = victim(words);
    if (limit) limit(request.limits);
    request.collect = {glob};
    request.collect_bytes = bytes;
    auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << words.back() << describe(ran);
    EXPECT_TRUE(ran.report && ran.report->collected.valid()) << words.back();
    return ran;
  }
};

TEST_F(CollectTest, WhateverStandsWhereAResultIsExpected) {
  struct Row {
    std::vector<std::string> what;
    std::string collected;  // "": nothing
  };
  const Row rows[] = {{{"plant", "directory", "result"}, "directory"},
                      {{"plant", "fifo", "result"}, ""},
                      {{"plant", "socket", "result"}, ""},
                      {{"plant", "unreadable", "result"}, ""},
                      {{"plant", "symlink", "result", "/etc/passwd"}, "link /etc/passwd"},
                      {{"plant", "symlink", "result", "result"}, "link result"},
                      {{"plant", "symlink", "result", "../../../../../../etc/shadow"}, "link ../../../../../../etc/shadow"},
                      {{"plant", "symlink", "result", "/proc/self/fd/3"}, "link /proc/self/fd/3"},
                      {{"sparse_file", "result", "0"}, "file "}};
  for (const auto& row : rows) {
    const auto ran = collect_after(row.what, "result");
    const auto found = contents(ran.report->collected);
    EXPECT_EQ(found.size(), row.collected.empty() ? 0 : 1) << row.what[1];
    if (!found.empty()) {
      EXPECT_EQ(found.begin()->second, row.collected) << row.what[1];
    }
  }
  EXPECT_EQ(attack({"plant", "hardlink", "result", "/etc/passwd"}, Verdict::runtime_error).outcome().exit_code, EXDEV);
  EXPECT_EQ(attack({"plant", "device", "result"}, Verdict::runtime_error).outcome().exit_code, EPERM);
}

TEST_F(CollectTest, HolesObeyTheCapAndNeedNoRoomInTheWorkspace) {
  const auto small_workspace = [](core::Limits& limits) { limits.workspace_bytes = 8 << 20; };
  const auto whole = collect_after({"sparse_file", "result", "16"}, "result", 64 << 20, small_workspace);
  EXPECT_FALSE(whole.report->collect_truncated);
  const auto tree = TreeReader::open(whole.report->collected.get());
  ASSERT_TRUE(tree && tree->entries().size() == 1);
  EXPECT_EQ(tree->entries()[0].data, std::string(16 << 20, '\0'));
  const auto capped = collect_after({"sparse_file", "result", "200"}, "result", 64 << 20, small_workspace);
  EXPECT_TRUE(capped.report->collect_truncated);
  EXPECT_TRUE(contents(capped.report->collected).empty());
}

TEST_F(CollectTest, LongPathsAreBoundedToo) {
  const auto ran = collect_after({"long_paths", "12000"}, "**", 1 << 20, [](core::Limits& limits) {
    limits.memory_bytes = 256 << 20;
    limits.cpu_time_us = limits.wall_time_us = 60'000'000;
  });
  EXPECT_TRUE(ran.report->collect_truncated);
  struct stat info{};
  ASSERT_EQ(fstat(ran.report->collected.get(), &info), 0);
  EXPECT_LT(info.st_size, 40 << 20);
}

TEST_F(CollectTest, NamesThatAreSwappedUntilTheEndAreOneOrTheOther) {
  for (int i = 0; i < 20; ++i) {
    const auto found = contents(collect_after({"swap_names"}, "out/a").report->collected);
    ASSERT_LE(found.size(), 1U);
    if (!found.empty()) {
      EXPECT_TRUE(found.begin()->second == "file " || found.begin()->second == "link /etc/passwd") << found.begin()->second;
    }
  }
}

/// The collector alone, with somebody who goes on swapping: what no sandbox allows, for all in it is dead by then.
TEST(Collector, FollowsNothingWhileNamesAreSwapped) {
  std::string base = "/tmp/bailiff-collect.XXXXXX";
  ASSERT_NE(mkdtemp(base.data()), nullptr);
  for (const char* directory : {"/secret", "/root", "/root/d", "/root/other"}) fs::create_directory(base + directory);
  std::ofstream(base + "/secret/inner") << "secret";
  for (const char* file : {"/root/a", "/root/d/inner", "/root/plain"}) std::ofstream(base + file) << "open";
  fs::create_symlink(base + "/secret/inner", base + "/root/link");
  fs::create_directory_symlink(base + "/secret", base + "/root/other/link");
  ASSERT_EQ(mkfifo((base + "/root/fifo").c_str(), 0666), 0);
  const core::Fd root(open((base + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::atomic<bool> done = false;
  std::thread swapper([&] {
    while (!done) {
      for (const char* name : {"link", "fifo", "plain"}) (void)renameat2(root.get(), name, root.get(), "a", RENAME_EXCHANGE);
      (void)renameat2(root.get(), "other/link", root.get(), "d", RENAME_EXCHANGE);
    }
  });
  constexpr std::uint32_t kNobody = 0x2fff0001;
  std::map<std::string, int> seen;
  for (int i = 0; i < 200; ++i) {
    const auto collected = collect(root.get(), {"**"}, 1 << 20, kNobody);
    EXPECT_TRUE(collected) << collected.error().what;
    if (!collected) break;
    for (const auto& [path, what] : contents(collected->tree)) {
      EXPECT_EQ(what.find("secret"), what.starts_with("link ") ? what.find("secret") : what.npos) << path << what;
      ++seen[what.substr(0, 4)];
    }
  }
  done = true;
  swapper.join();
  EXPECT_GT(seen["file"], 0);
  EXPECT_GT(seen["link"], 0);
  fs::remove_all(base);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
