// A definition is understood as a whole or refused with every fault named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "images/catalogue.h"

namespace bailiff::images {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kGood = R"(
name = "toy"
title = "Toy 1"
aliases = ["t", "t++"]
source_file = "src/main.toy"
compile = ["toyc", "main.toy"]
run = ["./main", "-x"]
version_command = ["toyc", "--version"]
packages = ["toy"]
time_factor = 1.5
memory_factor = 2
lacks = ["runtime_error"]
hello = "print\n"
[programs]
stdin = "copy"
time_limit = "loop"
[env]
TOY_HOME = ""
[limits]
cpu_time_ms = 1500.5
cpus = 0.5
[compile_limits]
memory_bytes = 1073741824
)";

std::string fault_of(std::string_view text) {
  const auto language = parse_language(text, "toy.toml");
  if (language) return "";
  EXPECT_EQ(language.error().kind, core::ErrorKind::invalid);
  return language.error().what;
}

/// The good definition with one line replaced (or removed).
std::string with(std::string_view line, std::string_view replacement) {
  std::string text = kGood;
  const std::size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos) << line;
  return text.replace(at, line.size(), replacement);
}

TEST(ParseLanguage, TakesEveryKey) {
  const auto language = parse_language(kGood, "toy.toml");
  ASSERT_TRUE(language) << language.error().what;
  EXPECT_EQ(language->name, "toy");
  EXPECT_EQ(language->title, "Toy 1");
  EXPECT_EQ(language->aliases, (std::vector<std::string>{"t", "t++"}));
  EXPECT_EQ(language->image, "host");
  EXPECT_EQ(language->source_file, "src/main.toy");
  EXPECT_EQ(language->compile, (std::vector<std::string>{"toyc", "main.toy"}));
  EXPECT_EQ(language->run, (std::vector<std::string>{"./main", "-x"}));
  EXPECT_EQ(language->version_command, (std::vector<std::string>{"toyc", "--version"}));
  EXPECT_EQ(language->env, (std::map<std::string, std::string>{{"TOY_HOME", ""}}));
  EXPECT_EQ(language->packages, std::vector<std::string>{"toy"});
  EXPECT_EQ(language->hello, "print\n");
  EXPECT_EQ(language->version, "");
  EXPECT_EQ(language->time_factor, 1.5);
  EXPECT_EQ(language->memory_factor, 2);
  EXPECT_EQ(language->lacks, std::vector<std::string>{"runtime_error"});
  EXPECT_EQ(language->programs, (std::map<std::string, std::string>{{"stdin", "copy"}, {"time_limit", "loop"}}));
}

TEST(ParseLanguage, ScalesLimitsAsRequestsDo) {
  const auto language = parse_language(kGood, "toy.toml");
  ASSERT_TRUE(language);
  const core::Limits run = core::apply(core::default_limits(), language->limits);
  EXPECT_EQ(run.cpu_time_us, 1'500'500U);
  EXPECT_EQ(run.cpus_milli, 500U);
  EXPECT_EQ(run.memory_bytes, core::default_limits().memory_bytes);
  EXPECT_EQ(core::apply(core::default_limits(), language->compile_limits).memory_bytes, core::kGiB);
}

TEST(ParseLanguage, NamesTheLineOfASyntaxError) { EXPECT_THAT(fault_of("name = \"a\"\nname =\n"), HasSubstr("toy.toml: line 2: ")); }

TEST(ParseLanguage, NamesEveryFaultAtOnce) {
  EXPECT_THAT(fault_of("nmae = \"x\"\n[limits]\nmemory = 1\n"),
              AllOf(HasSubstr("toy.toml: nmae: unknown key"), HasSubstr("toy.toml: name: is missing"),
                    HasSubstr("toy.toml: title: is missing"), HasSubstr("toy.toml: source_file: is missing"),
                    HasSubstr("toy.toml: run: is missing"), HasSubstr("toy.toml: hello: is missing"),
                    HasSubstr("toy.toml: version_command: is missing"), HasSubstr("toy.toml: limits.memory: unknown limit")));
}

struct BadLine {
  const char *line, *replacement, *fault;
};
class ParseLanguageRefuses : public testing::TestWithParam<BadLine> {};

TEST_P(ParseLanguageRefuses, NamingTheKey) {
  EXPECT_THAT(fault_of(with(GetParam().line, GetParam().replacement)), HasSubstr(GetParam().fault));
}

INSTANTIATE_TEST_SUITE_P(All, ParseLanguageRefuses,
                         testing::Values(BadLine{"name = \"toy\"", "name = \"Toy\"", "name: must be of a-z"},
                                         BadLine{"name = \"toy\"", "name = 3", "name: must be a string"},
                                         BadLine{"time_factor = 1.5", "time_factor = 0.5", "time_factor: must be a number from 1 to 20"},
                                         BadLine{"memory_factor = 2", "memory_factor = nan", "memory_factor: must be a number"},
                                         BadLine{"stdin = \"copy\"", "input = \"copy\"", "programs.input: unknown program"},
                                         BadLine{"stdin = \"copy\"", "runtime_error = \"x\"", "lacks: but there is a program"},
                                         BadLine{"\"runtime_error\"", "\"speed\"", "lacks: \"speed\" is unknown"},
                                         BadLine{"compile = [\"toyc\", \"main.toy\"]\n", "programs_of = \"x\"\n",
                                                 "programs_of: stands instead of"},
                                         BadLine{"time_limit = \"loop\"", "time_limit = \"\"", "programs.time_limit: must be a string"},
                                         BadLine{"name = \"toy\"", "name = \"\"", "name: must be a string"},
                                         BadLine{"\"t\", \"t++\"", "\"t\", \"t\"", "aliases[0]: \"t\" stands twice"},
                                         BadLine{"\"t\", \"t++\"", "\"toy\"", "aliases[0]: \"toy\" stands twice"},
                                         BadLine{"\"t\", \"t++\"", "\"a b\"", "aliases[0]: must be of a-z"},
                                         BadLine{"src/main.toy", "../main.toy", "source_file: must be a relative path"},
                                         BadLine{"src/main.toy", "/main.toy", "source_file: must be a relative path"},
                                         BadLine{"src/main.toy", "a//b", "source_file: must be a relative path"},
                                         BadLine{"src/main.toy", "a/", "source_file: must be a relative path"},
                                         BadLine{"run = [\"./main\", \"-x\"]", "run = []", "run: must be a list of 1"},
                                         BadLine{"run = [\"./main\", \"-x\"]", "run = \"./main\"", "run: must be a list"},
                                         BadLine{"\"./main\", \"-x\"", "\"./main\", 7", "run[1]: must be a string"},
                                         BadLine{"\"toyc\", \"main.toy\"", "\"toyc\", \"a\\u0000b\"", "compile[1]: must be a string"},
                                         BadLine{"TOY_HOME = \"\"", "\"TOY HOME\" = \"\"", "env.TOY HOME: is no name"},
                                         BadLine{"TOY_HOME = \"\"", "TOY_HOME = true", "env.TOY_HOME: must be a string"},
                                         BadLine{"cpus = 0.5", "cpus = 0", "limits.cpus: must be a number from 0.01 to 64"},
                                         BadLine{"cpus = 0.5", "cpus = nan", "limits.cpus: must be a number"},
                                         BadLine{"cpus = 0.5", "cpus = \"1\"", "limits.cpus: must be a number"},
                                         BadLine{"1073741824", "-1", "compile_limits.memory_bytes: must be a number"},
                                         BadLine{"1073741824", "9000000000000000000",
                                                 "compile_limits.memory_bytes: must be a number from 1048576 to 4294967296"}));

}  // namespace
}  // namespace bailiff::images
