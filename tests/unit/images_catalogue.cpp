// The catalogue over a directory of definitions, the shipped definitions, and the digest of the host image.
#include "images/catalogue.h"
#include "images/image_build.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace bailiff::images {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bailiff-images-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::string definition(const std::string& name, const std::string& aliases, const std::string& image = "host") {
  return fmt::format("name = \"{}\"\ntitle = \"T\"\naliases = [{}]\nimage = \"{}\"\nsource_file = \"a\"\nrun = [\"./a\"]\nversion_command "
                     "= [\"v\"]\nhello = \"h\"\n",
                     name, aliases, image);
}

const Image kHost{"host", "sha256:00", "host", ""};
std::optional<std::string> everything(const Language&) { return "tool 1.2\nmore\n"; }

TEST(Catalogue, FindsByNameAndAliasInAnyCase) {
  const Directory directory;
  directory.write("b.toml", definition("bee", R"("b++", "bx")"));
  directory.write("a.toml", definition("ay", ""));
  directory.write("README.md", "no definition");
  const auto catalogue = Catalogue::load(directory.path(), {kHost}, everything);
  ASSERT_TRUE(catalogue) << catalogue.error().what;
  ASSERT_EQ(catalogue->languages().size(), 2U);
  EXPECT_EQ(catalogue->languages()[0].name, "ay");
  EXPECT_EQ(catalogue->languages()[1].version, "tool 1.2");
  for (const char* name : {"bee", "BEE", "b++", "B++", "bx"}) {
    ASSERT_NE(catalogue->find_language(name), nullptr) << name;
    EXPECT_EQ(catalogue->find_language(name)->name, "bee");
  }
  for (const char* name : {"", "b", "bee ", "beee"}) EXPECT_EQ(catalogue->find_language(name), nullptr) << name;
  EXPECT_EQ(catalogue->find_image("host")->digest, "sha256:00");
  EXPECT_EQ(catalogue->find_image("other"), nullptr);
}

TEST(Catalogue, LeavesOutWhatTheProbeDoesNotFind) {
  const Directory directory;
  directory.write("a.toml", definition("ay", "\"a\""));
  directory.write("b.toml", definition("bee", "\"b\""));
  const auto catalogue = Catalogue::load(
      directory.path(), {kHost}, [](const Language& language) { return language.name == "bee" ? everything(language) : std::nullopt; });
  ASSERT_TRUE(catalogue);
  EXPECT_EQ(catalogue->find_language("ay"), nullptr);
  EXPECT_EQ(catalogue->find_language("a"), nullptr);
  ASSERT_NE(catalogue->find_language("b"), nullptr);
  EXPECT_EQ(catalogue->find_language("b")->name, "bee");
}

TEST(Catalogue, NamesTheFaultsOfAllFiles) {
  const Directory directory;
  directory.write("a.toml", definition("ay", "\"x\""));
  directory.write("b.toml", definition("bee", "\"x\", \"ay\""));
  directory.write("c.toml", "name = 1\n");
  const auto catalogue = Catalogue::load(directory.path(), {kHost}, everything);
  ASSERT_FALSE(catalogue);
  EXPECT_EQ(catalogue.error().kind, core::ErrorKind::invalid);
  EXPECT_THAT(catalogue.error().what,
              AllOf(HasSubstr("b.toml: \"x\" is already a name or alias in a.toml"),
                    HasSubstr("b.toml: \"ay\" is already a name or alias in a.toml"), HasSubstr("c.toml: name: must be a string")));
}

TEST(Catalogue, ALanguageIsOfferedInTheFirstImageThatHasItsTools) {
  const Directory directory;
  directory.write("d.toml", definition("dee", "", "debian"));
  const Image debian{"debian", "sha256:" + std::string(64, '1'), "erofs", ""},
      other{"other", "sha256:" + std::string(64, '2'), "erofs", ""};
  const auto offered_in = [&](const std::vector<Image>& images, const std::string& with_tools) {
    std::vector<std::string> asked;
    const auto catalogue = Catalogue::load(directory.path(), images, [&](const Language& language) {
      asked.push_back(language.image);
      return with_tools.contains(language.image) ? everything(language) : std::nullopt;
    });
    EXPECT_TRUE(catalogue);
    EXPECT_THAT(asked, testing::Not(testing::Contains("other"))) << "it does not name that image";
    const Language* found = catalogue->find_language("dee");
    return found == nullptr ? "nowhere" : found->image;
  };
  EXPECT_EQ(offered_in({kHost, debian, other}, "debian host"), "debian");
  EXPECT_EQ(offered_in({kHost, debian, other}, "host"), "host") << "its own has not got them";
  EXPECT_EQ(offered_in({kHost, other}, "host other"), "host") << "its own is not there";
  EXPECT_EQ(offered_in({kHost, debian}, ""), "nowhere");
  EXPECT_EQ(offered_in({other}, "other"), "nowhere");
}

TEST(Catalogue, FactorsScaleWhatTheLimitsDoNotName) {
  Language language;
  language.time_factor = 2.5;
  language.memory_factor = 3;
  const core::Limits plain = core::default_limits(), limits = scaled(plain, language);
  EXPECT_EQ(limits.cpu_time_us, plain.cpu_time_us * 5 / 2);
  EXPECT_EQ(limits.wall_time_us, plain.wall_time_us * 5 / 2);
  EXPECT_EQ(limits.memory_bytes, plain.memory_bytes * 3);
  EXPECT_EQ(limits.stack_bytes, plain.stack_bytes);
  EXPECT_EQ(scaled(plain, Language{}), plain);
}

TEST(Catalogue, VariantsTakeTheProgramsOfTheirLanguage) {
  const Directory directory;
  directory.write("a.toml", definition("ay", "") + "lacks = [\"runtime_error\"]\n[programs]\nstdin = \"in\"\n");
  std::string variant = definition("ay2", "");
  variant.replace(variant.find("hello = \"h\""), 11, "programs_of = \"ay\"");
  directory.write("b.toml", variant);
  const auto languages = read_definitions(directory.path());
  ASSERT_TRUE(languages) << languages.error().what;
  ASSERT_EQ(languages->size(), 2U);
  EXPECT_EQ(languages->at(1).hello, "h");
  EXPECT_EQ(languages->at(1).programs, languages->at(0).programs);
  EXPECT_EQ(languages->at(1).lacks, std::vector<std::string>{"runtime_error"});
  variant.replace(variant.find("ay2"), 3, "ay3").replace(variant.find("\"ay\""), 4, "\"ay2\"");
  directory.write("c.toml", variant);
  EXPECT_THAT(read_definitions(directory.path()).error().what,
              HasSubstr("ay3: programs_of: \"ay2\" is no language with programs of its own"));
}

TEST(Catalogue, ImagesComeAndGo) {
  const Directory directory;
  auto catalogue = Catalogue::load(directory.path(), {kHost}, everything);
  ASSERT_TRUE(catalogue);
  catalogue->offer({"b", "sha256:" + std::string(64, '1'), "erofs", ""});
  catalogue->offer({"a", "sha256:" + std::string(64, '2'), "erofs", ""});
  catalogue->offer({"b", "sha256:" + std::string(64, '3'), "erofs", ""});
  const auto held = catalogue->find_image("b");
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(held->sandbox_name(), "sha256-" + std::string(64, '3'));
  EXPECT_EQ(catalogue->find_image("host")->sandbox_name(), "host");
  std::vector<std::string> names;
  for (const Image& image : catalogue->images()) names.push_back(image.name);
  EXPECT_EQ(names, (std::vector<std::string>{"host", "a", "b"}));
  catalogue->withdraw("b");
  EXPECT_EQ(catalogue->find_image("b"), nullptr);
  EXPECT_EQ(held->digest, "sha256:" + std::string(64, '3')) << "who has it keeps it";
}

TEST(Catalogue, RefusesWhatIsNoDirectoryOrTooLarge) {
  EXPECT_EQ(Catalogue::load("/nonexistent/languages", {kHost}, everything).error().kind, core::ErrorKind::not_found);
  const Directory directory;
  directory.write("a.toml", "# " + std::string(70'000, 'x') + "\n" + definition("ay", ""));
  EXPECT_THAT(Catalogue::load(directory.path(), {kHost}, everything).error().what, HasSubstr("a.toml: cannot be read or is larger"));
  const Directory odd;
  odd.write("d.toml/x", "");
  EXPECT_THAT(Catalogue::load(odd.path(), {kHost}, everything).error().what, HasSubstr("d.toml: is no regular file"));
}

TEST(ShippedDefinitions, AllParseAndHaveWhatTheyNeed) {
  const auto catalogue = Catalogue::load(default_definitions_directory(), {kHost}, everything);
  ASSERT_TRUE(catalogue) << catalogue.error().what;
  for (const Language& language : catalogue->languages()) {
    SCOPED_TRACE(language.name);
    EXPECT_FALSE(language.hello.empty());
    EXPECT_FALSE(language.packages.empty());
    // `bailiff language test` has something to show for all that can be shown.
    for (const std::string_view program : kSelfTestPrograms) {
      const bool expected =
          std::ranges::find(language.lacks, program) == language.lacks.end() && (program != "compile_error" || !language.compile.empty());
      EXPECT_EQ(language.programs.contains(std::string(program)), expected) << program;
    }
    // Defaults that a server's standard ceiling refuses would make the language useless.
    for (const auto* limits : {&language.limits, &language.compile_limits}) {
      const core::Limits effective = core::apply(scaled(core::default_limits(), language), *limits);
      EXPECT_EQ(core::at_most(effective, core::ceiling_limits()), effective);
    }
    // The CLI tells a language by the file's extension.
    const std::string extension = std::filesystem::path(language.source_file).extension().string().substr(1);
    EXPECT_NE(catalogue->find_language(extension), nullptr) << extension;
  }
}

TEST(ShippedDefinitions, NameImagesThatCanBeBuilt) {
  const auto languages = read_definitions(default_definitions_directory());
  const auto images = image_definitions(default_image_definitions());
  ASSERT_TRUE(languages && images);
  EXPECT_GE(languages->size(), 80U);
  std::set<std::string> named = {"minimal"};
  for (const Language& language : *languages) {
    named.insert(language.image);
    EXPECT_THAT(*images, testing::Contains(language.image)) << language.name;
  }
  EXPECT_EQ(named, std::set<std::string>(images->begin(), images->end())) << "an image that nobody needs";
}

TEST(ShippedDefinitions, OfferTheNamesThatClientsUse) {
  const auto catalogue = Catalogue::load(default_definitions_directory(), {kHost}, everything);
  ASSERT_TRUE(catalogue) << catalogue.error().what;
  const std::map<std::string, std::string> canonical = {{"c", "c"},
                                                        {"cpp", "cpp"},
                                                        {"c++", "cpp"},
                                                        {"cc", "cpp"},
                                                        {"cxx", "cpp"},
                                                        {"g++", "cpp"},
                                                        {"cpp17", "cpp"},
                                                        {"d", "d"},
                                                        {"kt", "kotlin"},
                                                        {"kotlin", "kotlin"},
                                                        {"scala", "scala"},
                                                        {"prolog", "prolog"},
                                                        {"r", "r"},
                                                        {"pypy", "pypy"},
                                                        {"erl", "erlang"},
                                                        {"ex", "elixir"},
                                                        {"asm", "nasm"},
                                                        {"bf", "brainfuck"},
                                                        {"cobol", "cobol"},
                                                        {"cpp20", "cpp20"},
                                                        {"cpp23", "cpp23"},
                                                        {"py", "python"},
                                                        {"python3", "python"},
                                                        {"js", "javascript"},
                                                        {"node", "javascript"},
                                                        {"ts", "typescript"},
                                                        {"java", "java"},
                                                        {"go", "go"},
                                                        {"golang", "go"},
                                                        {"rs", "rust"},
                                                        {"bash", "bash"},
                                                        {"sh", "sh"},
                                                        {"pl", "perl"},
                                                        {"rb", "ruby"},
                                                        {"php", "php"},
                                                        {"lua", "lua"},
                                                        {"awk", "awk"},
                                                        {"pas", "pascal"},
                                                        {"f90", "fortran"},
                                                        {"hs", "haskell"},
                                                        {"ml", "ocaml"},
                                                        {"cs", "csharp"},
                                                        {"adb", "ada"},
                                                        {"c-clang", "c-clang"}};
  for (const auto& [alias, name] : canonical) {
    ASSERT_NE(catalogue->find_language(alias), nullptr) << alias;
    EXPECT_EQ(catalogue->find_language(alias)->name, name) << alias;
  }
}

TEST(HostImage, DigestCoversWhatIsInstalled) {
  const Directory root;
  root.write("etc/os-release", "ID=toy\n");
  root.write("var/lib/dpkg/status", "Package: a\n");
  root.write("usr/local/bin/tool", "x");
  const auto digest = [&] {
    const auto image = host_image(root.path());
    return image ? image->digest : image.error().what;
  };
  std::set<std::string> seen = {digest()};
  EXPECT_THAT(*seen.begin(), testing::MatchesRegex("sha256:[0-9a-f]+"));
  EXPECT_EQ(seen.begin()->size(), 7U + 64U);
  EXPECT_EQ(digest(), *seen.begin());
  root.write("etc/os-release", "ID=toy2\n");
  EXPECT_TRUE(seen.insert(digest()).second);
  root.write("var/lib/dpkg/status", "Package: a\nPackage: b\n");
  EXPECT_TRUE(seen.insert(digest()).second);
  root.write("usr/local/bin/other", "");
  EXPECT_TRUE(seen.insert(digest()).second);
}

TEST(HostImage, OfThisMachine) {
  const auto image = host_image();
  ASSERT_TRUE(image) << image.error().what;
  EXPECT_EQ(image->name, "host");
  EXPECT_EQ(image->kind, "host");
  EXPECT_EQ(image->path, "");
}

TEST(HostImage, NeedsSomethingToGoBy) {
  const Directory root;
  EXPECT_EQ(host_image(root.path()).error().kind, core::ErrorKind::not_found);
}

TEST(FindHostTool, LooksWhereTheImageLooks) {
  EXPECT_TRUE(find_host_tool("sh", {}));
  EXPECT_EQ(find_host_tool("sh", {{"PATH", "/nonexistent:/bin"}}), "/bin/sh");
  EXPECT_FALSE(find_host_tool("sh", {{"PATH", "/nonexistent"}}));
  EXPECT_EQ(find_host_tool("/bin/sh", {}), "/bin/sh");
  EXPECT_FALSE(find_host_tool("no-such-tool", {}));
  EXPECT_FALSE(find_host_tool("./sh", {}));
  EXPECT_FALSE(find_host_tool("", {}));
  // A program of the host that the image does not show, even where PATH names it.
  const Directory hidden;
  hidden.write("tool", "#!/bin/sh\n");
  std::filesystem::permissions(hidden.path() + "/tool", std::filesystem::perms::owner_all);
  EXPECT_FALSE(find_host_tool("tool", {{"PATH", hidden.path()}}));
  EXPECT_FALSE(find_host_tool("/usr", {}));
}

TEST(FirstLine, IsOneCleanLine) {
  EXPECT_EQ(first_line("\n\n  g++ 12.2 \r\nmore"), "g++ 12.2");
  EXPECT_EQ(first_line("a\x1b[31mb"), "a?[31mb");
  EXPECT_EQ(first_line(""), "");
  EXPECT_EQ(first_line(std::string(500, 'x')).size(), 200U);
}

}  // namespace
}  // namespace bailiff::images
