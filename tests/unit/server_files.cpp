// Blobs and artifacts over HTTP, and the paths that name them.
#include <gtest/gtest.h>

#include "images/tar_writer.h"
#include "server/blob_content.h"
#include "server/http_router.h"
#include "server_http_fixture.h"

namespace bailiff::server {
namespace {

class FilesTest : public testing::HttpServerTest {
 protected:
  FilesTest() { start(); }
  /// A body that comes in chunks, to its end.
  static std::string chunks(testing::RawClient& client) {
    std::string body;
    while (true) {
      std::string size;
      while (!size.ends_with("\r\n")) {
        const auto next = client.take(1);
        if (!next) return "the connection ended";
        size += *next;
      }
      const auto chunk = client.take(std::stoul(size, nullptr, 16) + 2);
      if (!chunk) return "the connection ended";
      if (chunk->size() == 2) return body;
      body += chunk->substr(0, chunk->size() - 2);
    }
  }
  std::string job_with(std::vector<core::Artifact> artifacts) {
    const std::string id = post(kJob).json()["id"];
    core::JobResult result;
    result.verdict = core::Verdict::ok;
    result.artifacts = std::move(artifacts);
    on_loop([&] { jobs.end_with(id, std::move(result)); });
    return id;
  }
};

TEST_F(FilesTest, ArtifactsAreListedAndRead) {
  const auto id = job_with({{"out/a b.txt", "hello"}, {"out/<x>\"é.html", "<script>"}});
  const auto listed = ask("GET", "/v1/jobs/" + id + "/artifacts").json();
  ASSERT_EQ(listed["items"].size(), 2U) << listed;
  EXPECT_EQ(listed["items"][0]["path"], "out/a b.txt");
  EXPECT_EQ(listed["items"][0]["bytes"], 5);
  EXPECT_EQ(listed["items"][0]["digest"], sha256_digest("hello"));
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id).json()["artifacts"], listed["items"]);
  const auto one = ask("GET", "/v1/jobs/" + id + "/artifacts/out/a%20b.txt");
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(one.body, "hello");
  EXPECT_EQ(one.headers.at("content-type"), "application/octet-stream");
  EXPECT_EQ(one.headers.at("x-content-type-options"), "nosniff");
  EXPECT_EQ(one.headers.at("content-disposition"), "attachment; filename*=UTF-8''a%20b.txt");
  EXPECT_EQ(one.headers.at("etag"), '"' + sha256_digest("hello") + '"');
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/artifacts/out/a%20b.txt", "Range: bytes=1-3\r\n").body, "ell");
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/artifacts/out/a%20b.txt", "If-None-Match: " + one.headers.at("etag") + "\r\n").status, 304);
  const auto page = ask("GET", "/v1/jobs/" + id + "/artifacts/out/%3Cx%3E%22%C3%A9.html");
  EXPECT_EQ(page.body, "<script>");
  EXPECT_EQ(page.headers.at("content-disposition"), "attachment; filename*=UTF-8''%3Cx%3E%22%C3%A9.html");
  for (const char* path : {"out", "out/", "out/../out/a%20b.txt", "%2E%2E/out", "out%2Fa%20b.txt/x"})
    EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/artifacts/" + path).status, 404) << path;
  EXPECT_EQ(ask("GET", "/v1/jobs/" + id + "/artifacts?format=zip").status, 400);
  EXPECT_EQ(ask("GET", "/v1/jobs/00000000000000000000009999/artifacts").status, 404);
  EXPECT_EQ(ask("GET", "/v1/jobs/" + post(kJob).json()["id"].get<std::string>() + "/artifacts").json()["items"].size(), 0U);
}

TEST_F(FilesTest, AllOfThemAreATar) {
  const std::string large(600'000, 'x');
  const auto id = job_with({{"a", "1"}, {"b/c", large}, {"d", ""}});
  testing::RawClient client(port);
  client.send(request("GET", "/v1/jobs/" + id + "/artifacts?format=tar"));
  const auto tar = client.read();
  ASSERT_EQ(tar.status, 200);
  EXPECT_EQ(tar.headers.at("content-type"), "application/x-tar");
  const auto body = chunks(client);
  ASSERT_GT(body.size(), large.size());
  EXPECT_EQ(body.size() % 512, 0U);
  EXPECT_EQ(body.substr(257, 5), "ustar");
  EXPECT_NE(body.find(large), std::string::npos);
}

TEST_F(FilesTest, ABlobIsBroughtOnce) {
  const std::string bytes = std::string("a\0b", 3) + std::string(3'000'000, 'z'), digest = sha256_digest(bytes);
  const std::string type = "Content-Type: application/octet-stream\r\n";
  EXPECT_EQ(ask("HEAD", "/v1/blobs/" + digest).status, 404);
  // The fixture has no directory of images, which is where uploads are received.
  EXPECT_EQ(ask("POST", "/v1/blobs", type, bytes).status, 503);
  for (const char* query : {"?digest=sha256:0", "?digest=x", "?name=y"})
    EXPECT_EQ(ask("POST", std::string("/v1/blobs") + query, type, "x").status, 422) << query;
  for (const char* path : {"/v1/blobs/sha256:0", "/v1/blobs/md5:0", "/v1/blobs/sha256:", "/v1/blobs/x"})
    EXPECT_EQ(ask("GET", path).status, 404) << path;
}

TEST(BlobDigestTest, IsSha256OfWhatWasAdded) {
  BlobDigest digest;
  digest.add("hel");
  digest.add("lo");
  EXPECT_EQ(digest.text(), sha256_digest("hello"));
  EXPECT_TRUE(is_blob_digest(sha256_digest("")));
  for (const auto& wrong :
       {std::string("sha256:"), sha256_digest("") + "0", "SHA256:" + std::string(64, '0'), "sha256:" + std::string(64, 'A')})
    EXPECT_FALSE(is_blob_digest(wrong)) << wrong;
}

TEST(RouterPatterns, VariablesStandBetweenFixedTextsOrTakeTheRest) {
  Router router;
  for (const char* pattern : {"/b/sha256:{hex}", "/j/{id}/a", "/j/{id}/a/{path*}", "/j/{id}:x"}) {
    Route route;
    route.method = "GET";
    route.pattern = pattern;
    router.add(std::move(route));
  }
  const auto values = [&](const char* text) {
    const auto match = router.match("GET", *parse_target(text));
    return match.route == nullptr ? std::vector<std::string>{"none"} : match.path_values;
  };
  using Values = std::vector<std::string>;
  EXPECT_EQ(values("/b/sha256:12"), Values{"12"});
  EXPECT_EQ(values("/b/sha256:"), Values{"none"});
  EXPECT_EQ(values("/b/md5:12"), Values{"none"});
  EXPECT_EQ(values("/j/1/a"), Values{"1"});
  EXPECT_EQ(values("/j/1/a/b"), (Values{"1", "b"}));
  EXPECT_EQ(values("/j/1/a/b/c:d/e"), (Values{"1", "b/c:d/e"}));
  EXPECT_EQ(values("/j/1/a/"), Values{"none"});
  EXPECT_EQ(values("/j/1:x"), Values{"1"});
  EXPECT_EQ(values("/j/:x"), Values{"none"});
}

}  // namespace
}  // namespace bailiff::server
