#include "server/job_archive.h"

#include <gtest/gtest.h>

namespace bailiff::server {
namespace {

using Kind = images::FileNode::Kind;

TEST(JobArchive, FilesTakeThePlaceOfFilesAndLinksAndOfNothingElse) {
  images::UnpackedArchive archive;
  for (const auto& [kind, path] : {std::pair{Kind::file, "a"}, {Kind::directory, "d"}, {Kind::file, "d/x"}, {Kind::symlink, "link"}})
    archive.entries.push_back({kind, path, false, "", {}});
  struct Row {
    const char* placed;
    const char* clash;  // nothing: it can be placed
  };
  for (const auto& [placed, clash] : {Row{"a", nullptr},
                                      {"link", nullptr},
                                      {"d/x", nullptr},
                                      {"d/new", nullptr},
                                      {"aa/b", nullptr},
                                      {"a-b", nullptr},
                                      {"d", "\"d/\""},
                                      {"a/b", "\"a\""},
                                      {"link/b/c", "\"link\""},
                                      {"d/x/y", "\"d/x\""}}) {
    const auto fits = check_placed(archive, {placed});
    EXPECT_EQ(fits.has_value(), clash == nullptr) << placed;
    if (fits || clash == nullptr) continue;
    EXPECT_EQ(fits.error().kind, core::ErrorKind::invalid);
    EXPECT_TRUE(fits.error().what.ends_with(std::string("the archive has ") + clash)) << fits.error().what;
  }
  archive.entries = {{Kind::file, "main.py/x", false, "", {}}};  // whose directory has no entry
  EXPECT_FALSE(check_placed(archive, {"main.py"}));
}

}  // namespace
}  // namespace bailiff::server
