// The web pages: what is loaded, what is refused, and what each address answers.
#include "server/web_pages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server_http_fixture.h"

namespace bailiff::server {
namespace {

namespace fs = std::filesystem;

class BuiltPages {
 public:
  BuiltPages() {
    std::string pattern = ::testing::TempDir() + "bailiff-web-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    put("index.html", "<!doctype html>");
    put("icon.svg", "<svg/>");
    put("assets/index-3f2a.js", "run()");
    put("assets/index-3f2a.js.gz", "packed");
  }
  ~BuiltPages() { fs::remove_all(path_); }
  BuiltPages(const BuiltPages&) = delete;
  BuiltPages& operator=(const BuiltPages&) = delete;

  void put(const std::string& name, const std::string& bytes) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] core::Result<WebPages> load() const { return WebPages::load(path()); }

 private:
  fs::path path_;
};

TEST(WebPages, LoadsWhatABuildMakes) {
  const BuiltPages built;
  const auto pages = built.load();
  ASSERT_TRUE(pages) << pages.error().what;
  EXPECT_EQ(pages->files().size(), 3U);
  const auto* script = pages->find("assets/index-3f2a.js");
  ASSERT_NE(script, nullptr);
  EXPECT_EQ(script->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(script->bytes, "run()");
  EXPECT_EQ(script->gzip, "packed");
  EXPECT_NE(script->tag, script->gzip_tag);
  EXPECT_EQ(pages->find("assets"), nullptr);
  EXPECT_EQ(pages->find("index-3f2a.js"), nullptr);
}

TEST(WebPages, RefusesWhatNoBuildMakes) {
  const auto refused = [](const std::string& name, const std::string& bytes, const std::string& why) {
    const BuiltPages built;
    built.put(name, bytes);
    const auto pages = built.load();
    ASSERT_FALSE(pages) << name;
    EXPECT_NE(pages.error().what.find(why), std::string::npos) << pages.error().what;
    EXPECT_TRUE(pages.error().what.starts_with("web: ")) << pages.error().what;
  };
  refused("key.pem", "secret", "of no type");
  refused("a b.js", "", "not a file of a built page");
  refused(".env.js", "", "not a file of a built page");
  refused("{id}.js", "", "not a file of a built page");
  refused("deeper/x.js", "", "not a file of a built page");
  refused("assets/deeper/x.js", "", "not a file of a built page");
  refused("only.js.gz", "packed", "compressed only");
  refused("large.js", std::string(WebPages::kMostBytes, 'x'), "16 MiB");
  EXPECT_FALSE(WebPages::load("/nowhere/at/all"));
}

TEST(WebPages, HoldsNoMoreThanTheFilesAre) {
  const BuiltPages built;
  const std::string script(100'000, 'x');
  built.put("assets/large.js", script);
  const auto pages = built.load();
  ASSERT_TRUE(pages) << pages.error().what;
  EXPECT_EQ(pages->find("assets/large.js")->bytes, script);
  std::size_t held_bytes = 0;
  for (const auto& [name, file] : pages->files()) held_bytes += file.bytes.capacity() + file.gzip.capacity();
  EXPECT_LT(held_bytes, 2 * script.size());
}

TEST(WebPages, OddOnesThatNobodyNamedAreDoneWithout) {
  const BuiltPages built;
  EXPECT_FALSE(WebPages::load_found(built.path()).empty());
  built.put("key.pem", "secret");
  EXPECT_TRUE(WebPages::load_found(built.path()).empty());
  EXPECT_TRUE(WebPages::load_found("/nowhere/at/all").empty());
}

TEST(WebPages, KnowsEveryTypeThatTheBuildPacks) {
  const BuiltPages built;
  for (const char* name : {"a.html", "b.js", "c.css", "d.svg", "e.json", "f.txt"}) {
    built.put(name, "bytes");
    built.put(std::string(name) + ".gz", "packed");
  }
  const auto pages = built.load();
  ASSERT_TRUE(pages) << pages.error().what;
  EXPECT_EQ(pages->find("e.json")->content_type, "application/json");
  EXPECT_EQ(pages->find("f.txt")->content_type, "text/plain; charset=utf-8");
}

TEST(WebPages, FollowsNoLinks) {
  const auto refused = [](const char* name, const char* target) {
    const BuiltPages built;
    fs::create_symlink(target, fs::path(built.path()) / name);
    const auto pages = built.load();
    ASSERT_FALSE(pages) << name;
    EXPECT_NE(pages.error().what.find("not a file of a built page"), std::string::npos) << pages.error().what;
  };
  refused("passwd.js", "/etc/passwd");
  refused("same.js", "icon.svg");
  refused("assets/same.js", "index-3f2a.js");
  const BuiltPages elsewhere, built;
  fs::remove_all(fs::path(built.path()) / "assets");
  fs::create_symlink(fs::path(elsewhere.path()) / "assets", fs::path(built.path()) / "assets");
  EXPECT_FALSE(built.load());
}

TEST(WebPages, NeedsADocument) {
  const BuiltPages built;
  fs::remove(fs::path(built.path()) / "index.html");
  const auto pages = built.load();
  ASSERT_FALSE(pages);
  EXPECT_NE(pages.error().what.find("index.html"), std::string::npos);
}

TEST(WebPages, AcceptEncoding) {
  for (const char* yes : {"gzip", "GZIP", "br, gzip", "gzip;q=0.5", "identity;q=0, gzip ; q=1"}) EXPECT_TRUE(takes_gzip(yes)) << yes;
  for (const char* no : {"", "br", "gzip;q=0", "gzip; q=0.000", "x-gzip-not", ",,,", "gzipped", ";q=1"}) EXPECT_FALSE(takes_gzip(no)) << no;
}

class ServedPages : public testing::HttpServerTest {
 protected:
  ServedPages() : pages_(*built_.load()) {
    web_pages = &pages_;
    start();
  }
  ~ServedPages() override { stop(); }

 private:
  BuiltPages built_;
  WebPages pages_;
};

TEST_F(ServedPages, TheDocumentAnswersForEveryPage) {
  for (const char* path : {"/", "/jobs", "/jobs/01abc", "/system"}) {
    const auto answer = ask("GET", path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.body, "<!doctype html>");
    EXPECT_EQ(answer.headers.at("content-type"), "text/html; charset=utf-8");
    EXPECT_EQ(answer.headers.at("cache-control"), "no-cache");
    EXPECT_EQ(answer.headers.at("x-content-type-options"), "nosniff");
    EXPECT_NE(answer.headers.at("content-security-policy").find("default-src 'none'"), std::string::npos);
    EXPECT_EQ(ask("GET", path, "If-None-Match: " + answer.headers.at("etag") + "\r\n").status, 304);
  }
  EXPECT_EQ(ask("POST", "/").status, 405);
  EXPECT_EQ(ask("GET", "/icon.svg").headers.at("content-type"), "image/svg+xml");
}

TEST_F(ServedPages, FilesWithAHashAreKeptForGood) {
  const auto plain = ask("GET", "/assets/index-3f2a.js");
  EXPECT_EQ(plain.body, "run()");
  EXPECT_EQ(plain.headers.at("cache-control"), "public, max-age=31536000, immutable");
  EXPECT_FALSE(plain.headers.contains("content-encoding"));
  const auto packed = ask("GET", "/assets/index-3f2a.js", "Accept-Encoding: gzip\r\n");
  EXPECT_EQ(packed.body, "packed");
  EXPECT_EQ(packed.headers.at("content-encoding"), "gzip");
  EXPECT_EQ(packed.headers.at("vary"), "Accept-Encoding");
  EXPECT_EQ(ask("GET", "/assets/index-3f2a.js", "Accept: text/css,*/*;q=0.1\r\n").status, 200);
}

TEST_F(ServedPages, NothingElseIsServed) {
  for (const char* path : {"/index.html", "/assets/../index.html", "/assets/..%2findex.html", "/assets/none.js", "/assets/index-3f2a.js.gz",
                           "/assets", "/jobs/a/b", "/v1"})
    EXPECT_EQ(ask("GET", path).status, 404) << path;
}

}  // namespace
}  // namespace bailiff::server
