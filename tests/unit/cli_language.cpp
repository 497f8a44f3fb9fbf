// What `bailiff language test` prints: a table, JSON, and docs/languages.md.
#include "cli/language.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bailiff::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<Trial> trials() {
  Trial good{.name = "toy", .title = "Toy | 1", .aliases = {"t"}, .image = "small", .version = "toy 1.2\x1b[31m"};
  good.present = good.passed = true;
  good.detail = "hello stdin";
  good.limits = core::default_limits();
  good.hello.wall_us = 1500;
  Trial bad = good;
  bad.name = "bad";
  bad.passed = false;
  bad.detail = "hello: another output";
  Trial absent{.name = "none", .title = "None", .image = "large"};
  absent.detail = "absent: no image here has its tools";
  return {good, bad, absent};
}

TEST(LanguageTrials, JsonHasAnItemForEach) {
  const auto document = trials_to_json(trials());
  ASSERT_EQ(document.at("items").size(), 3U);
  const auto& good = document.at("items").at(0);
  EXPECT_EQ(good.at("name"), "toy");
  EXPECT_EQ(good.at("image"), "small");
  EXPECT_EQ(good.at("passed"), true);
  EXPECT_EQ(good.at("detail"), "hello stdin");
  EXPECT_EQ(document.at("items").at(1).at("passed"), false);
  EXPECT_TRUE(document.at("items").at(2).at("version").is_null());
}

TEST(LanguageTrials, TheTableCountsAndIsNobodysTerminal) {
  const auto page = render_trials(trials(), Paint(false));
  EXPECT_THAT(page, HasSubstr("1 passed, 1 failed, 1 absent"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
}

TEST(LanguageTrials, TheDocumentNamesImagesAndKeepsItsColumns) {
  const images::Image small{"small", "sha256:" + std::string(64, '1'), "erofs", "", 1 << 20}, other{"other", "", "erofs", ""};
  const auto page = trials_to_markdown(trials(), {small, other});
  EXPECT_THAT(page, HasSubstr("| `toy` | Toy \\| 1 | t |"));
  EXPECT_THAT(page, HasSubstr("FAILED: hello: another output"));
  EXPECT_THAT(page, HasSubstr("| small | `sha256:1111"));
  EXPECT_THAT(page, Not(HasSubstr("| other |")));
}

}  // namespace
}  // namespace bailiff::cli
