// Blobs and artifacts on a real server.
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

class FilesTest : public SystemTest {
 protected:
  Json run(const Json& request) {
    const auto answer = http().post("/v1/jobs", request, {"Prefer: wait=60"});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  }
  std::string bring(const std::string& bytes) {
    const auto answer = http().post_bytes("/v1/blobs", bytes);
    EXPECT_EQ(answer.status, 201) << answer.body;
    return answer.json().value("digest", "");
  }
};

TEST_F(FilesTest, ABlobIsAFileAnInputAndAnExpectedOutput) {
  start();
  std::string bytes;
  for (int i = 0; bytes.size() < 3'000'000; ++i) bytes += std::to_string(i) + "\n";
  const auto digest = bring(bytes);
  EXPECT_EQ(http().post_bytes("/v1/blobs", bytes).status, 200) << "it is there already";
  EXPECT_EQ(http().get("/v1/blobs/" + digest).body, bytes);
  EXPECT_EQ(http().get("/v1/blobs/" + digest, {"Range: bytes=2-5"}).body, bytes.substr(2, 4));
  EXPECT_EQ(http().post_bytes("/v1/blobs?digest=sha256:" + std::string(64, '0'), "x").status, 422);
  const Json blob = {{"blob", digest}};
  const auto job =
      run({{"image", "host"}, {"files", {{"in", blob}}}, {"steps", {{{"command", "cmp in - && wc -c <in"}, {"stdin", blob}}}}});
  EXPECT_EQ(job.at("verdict"), "ok") << job.dump();
  EXPECT_EQ(job.at("steps").at(0).at("stdout"), std::to_string(bytes.size()) + "\n");
  const auto judged = run({{"language", "python"},
                           {"source", "import sys; sys.stdout.write(sys.stdin.read())"},
                           {"tests", {{{"stdin", blob}, {"expected", blob}}, {{"stdin", "1"}, {"expected", blob}}}},
                           {"stop_on_failure", false}});
  EXPECT_EQ(judged.at("tests").at(0).at("verdict"), "accepted");
  EXPECT_EQ(judged.at("tests").at(1).at("verdict"), "wrong_answer");
  EXPECT_EQ(http().get("/v1/jobs/" + judged.at("id").get<std::string>() + "/request").json().at("tests").at(0).at("stdin"), blob);
  const auto unknown = http().post("/v1/jobs", {{"language", "python"}, {"source", {{"blob", "sha256:" + std::string(64, '0')}}}});
  EXPECT_EQ(unknown.status, 422);
  EXPECT_EQ(unknown.json().at("errors").at(0).at("pointer"), "/source/blob");
}

TEST_F(FilesTest, AnArchiveIsUnpackedBeforeTheFiles) {
  start();
  const std::string directory = data() + "/../project";
  std::filesystem::create_directories(directory + "/src");
  std::ofstream(directory + "/src/main.c") << "#include <stdio.h>\nint main(void) { puts(NAME); return 0; }\n";
  std::ofstream(directory + "/build.sh") << "#!/bin/sh\ncc -DNAME='\"archive\"' src/main.c -o main\n";
  std::ofstream(directory + "/data") << "old\n";
  std::filesystem::permissions(directory + "/build.sh", std::filesystem::perms(0755));
  const auto pack = [&](const std::string& command, const std::string& name) {
    EXPECT_EQ(std::system(("cd " + directory + " && " + command).c_str()), 0);
    std::ifstream file(directory + "/../" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto tar = bring(pack("tar -czf ../p.tgz .", "p.tgz"));
  const auto zip = bring(pack("python3 -c \"import shutil; shutil.make_archive('../p', 'zip', '.')\"", "p.zip"));
  for (const auto& digest : {tar, zip}) {
    const auto job = run({{"image", "host"},
                          {"archive", {{"blob", digest}}},
                          {"files", {{"data", "new\n"}, {"src/extra", "x"}}},
                          {"steps", {{{"command", "./build.sh && ./main && cat data src/extra"}}}}});
    EXPECT_EQ(job.at("verdict"), "ok") << job.dump();
    EXPECT_EQ(job.at("steps").at(0).at("stdout"), "archive\nnew\nx");
  }
  // Of tests without a compile step every one begins with it.
  const auto judged = run({{"language", "python"},
                           {"source", "print(open('data').read().strip() + input())"},
                           {"archive", {{"blob", tar}}},
                           {"tests", {{{"stdin", "1"}, {"expected", "old1"}}, {{"stdin", "2"}, {"expected", "old2"}}}}});
  EXPECT_EQ(judged.at("verdict"), "accepted") << judged.dump();
  const auto id = judged.at("id").get<std::string>();
  EXPECT_EQ(http().get("/v1/jobs/" + id + "/request").json().at("archive").at("blob"), tar);

  const auto refused = http().post("/v1/jobs", {{"image", "host"}, {"archive", {{"base64", "AAEC"}}}, {"steps", {{{"command", "true"}}}}});
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(refused.json().at("errors").at(0).at("pointer"), "/archive");
  const auto batch = http().post("/v1/jobs:batch", {{"jobs",
                                                     {{{"image", "host"}, {"archive", {{"blob", tar}}}, {"steps", {{{"command", "true"}}}}},
                                                      {{"image", "host"}, {"archive", "no"}, {"steps", {{{"command", "true"}}}}}}}});
  EXPECT_EQ(batch.json().at("items").at(0).at("status"), 202) << batch.body;
  EXPECT_EQ(batch.json().at("items").at(1).at("status"), 422) << batch.body;
  const auto clash = http().post(
      "/v1/jobs", {{"image", "host"}, {"archive", {{"blob", tar}}}, {"files", {{"data/below", "x"}}}, {"steps", {{{"command", "true"}}}}});
  EXPECT_EQ(clash.status, 422) << clash.body;
  const auto large = bring(pack("head -c 100000 /dev/zero >large && tar -czf ../l.tgz large", "l.tgz"));
  const auto over = http().post(
      "/v1/jobs",
      {{"image", "host"}, {"archive", {{"blob", large}}}, {"limits", {{"workspace_bytes", 50'000}}}, {"steps", {{{"command", "true"}}}}});
  EXPECT_EQ(over.status, 422) << over.body;
  EXPECT_NE(over.body.find("more than 50000 bytes"), std::string::npos) << over.body;
}

TEST_F(FilesTest, TheClientSendsAnArchiveWithTheProgram) {
  start();
  const std::string script = "cd " + data() +
                             "/.. && mkdir pack && echo packed >pack/data && tar -czf p.tgz -C pack . && echo 'cat data' >it.sh && "
                             "BAILIFF_SERVER=" +
                             http().url() + " " BAILIFF_PATH " submit --wait --archive p.tgz it.sh >said 2>&1";
  EXPECT_EQ(std::system(script.c_str()), 0);
  std::ifstream said(data() + "/../said");
  const std::string text(std::istreambuf_iterator<char>(said), {});
  EXPECT_NE(text.find("packed"), std::string::npos) << text;
}

TEST_F(FilesTest, ABlobIsBounded) {
  start({"--slots", "1", "--max-blob-bytes", "1000", "--max-blobs-bytes", "1500"});
  EXPECT_EQ(http().post_bytes("/v1/blobs", std::string(1001, 'x')).status, 413);
  EXPECT_EQ(http().post_bytes("/v1/blobs", std::string(1000, 'x')).status, 201);
  EXPECT_EQ(http().post_bytes("/v1/blobs", std::string(501, 'x')).status, 503);
  EXPECT_EQ(http().post_bytes("/v1/blobs", "").status, 201) << "an empty file is a file";
}

TEST_F(FilesTest, ArtifactsAreThereAfterEveryEnd) {
  start();
  const auto keep = [&](const char* after, Json limits) {
    return Json{
        {"image", "host"},
        {"steps", {{{"command", std::string("mkdir -p out/d && echo hello >out/d/a.txt && ln -s /etc/passwd out/link && ") + after}}}},
        {"artifacts", {"out/**"}},
        {"limits", std::move(limits)}};
  };
  for (const auto& [after, verdict, limits] :
       {std::tuple{"true", "ok", Json::object()}, std::tuple{"exit 3", "runtime_error", Json::object()},
        std::tuple{"while :; do :; done", "time_limit_exceeded", Json{{"cpu_time_ms", 200}}}}) {
    const auto job = run(keep(after, limits));
    EXPECT_EQ(job.at("verdict"), verdict);
    ASSERT_EQ(job.at("artifacts").size(), 1U) << after << job.dump();
    EXPECT_EQ(job.at("artifacts").at(0).at("path"), "out/d/a.txt");
    EXPECT_TRUE(job.at("artifacts_truncated")) << "the link is not kept, and that is told";
    EXPECT_EQ(http().get("/v1/jobs/" + job.at("id").get<std::string>() + "/artifacts/out/d/a.txt").body, "hello\n");
  }
  const std::string id = http().post("/v1/jobs", keep("sleep 100", Json::object())).json().at("id");
  ASSERT_TRUE(eventually([&] {
    const auto steps = http().get("/v1/jobs/" + id + "/namespaces");
    return steps.status == 200 && steps.body.find("sleep") != std::string::npos;
  }));
  EXPECT_EQ(http().post("/v1/jobs/" + id + ":cancel", Json(), {"Prefer: wait=30"}).json().at("verdict"), "cancelled");
  EXPECT_EQ(http().get("/v1/jobs/" + id + "/artifacts").json().at("items").size(), 1U);
}

TEST_F(FilesTest, ATarHasThemAll) {
  start();
  const auto job = run({{"image", "host"},
                        {"steps", {{{"command", "mkdir a; head -c 700000 /dev/zero >a/zeros; echo é >'a/é b'; echo no >skipped"}}}},
                        {"artifacts", {"a/*"}}});
  const auto tar = http().get("/v1/jobs/" + job.at("id").get<std::string>() + "/artifacts?format=tar");
  const std::string path = data() + "-artifacts.tar";
  std::ofstream(path, std::ios::binary) << tar.body;
  FILE* listing = ::popen(("LC_ALL=C.UTF-8 tar -tvf " + path).c_str(), "re");
  std::string text;
  char piece[256];
  while (std::fgets(piece, sizeof piece, listing) != nullptr) text += piece;
  EXPECT_EQ(::pclose(listing), 0);
  EXPECT_NE(text.find(" 700000 "), std::string::npos) << text;
  EXPECT_NE(text.find("a/é b"), std::string::npos) << text;
  EXPECT_EQ(text.find("skipped"), std::string::npos) << text;
}

TEST_F(FilesTest, TheClientSavesThemAndOverwritesNothing) {
  start();
  const auto job =
      run({{"image", "host"}, {"steps", {{{"command", "mkdir -p a/b; echo one >a/b/c; echo two >d"}}}}, {"artifacts", {"**"}}});
  const std::string into = data() + "-saved";
  const std::string command =
      "BAILIFF_SERVER=" + http().url() + " " BAILIFF_PATH " artifacts " + job.at("id").get<std::string>() + " -o " + into;
  EXPECT_EQ(std::system((command + " >/dev/null").c_str()), 0);
  std::string text;
  std::getline(std::ifstream(into + "/a/b/c"), text);
  EXPECT_EQ(text, "one");
  EXPECT_NE(std::system((command + " >/dev/null 2>&1").c_str()), 0) << "they are there already";
}

TEST_F(FilesTest, TooManyBytesAreToldAndNotKept) {
  start({"--slots", "1", "--max-artifact-bytes", "1000"});
  const auto job =
      run({{"image", "host"}, {"steps", {{{"command", "head -c 100 /dev/zero >a; head -c 5000 /dev/zero >b"}}}}, {"artifacts", {"*"}}});
  EXPECT_EQ(job.at("verdict"), "ok");
  EXPECT_TRUE(job.at("artifacts_truncated"));
  for (const auto& artifact : job.at("artifacts")) EXPECT_EQ(artifact.at("path"), "a");
}

TEST_F(FilesTest, KeysDoNotSeeOneAnothersFiles) {
  start();
  const auto make = [&](const Json& wish, const std::string& by) {
    return http().post("/v1/keys", wish, {"Authorization: Bearer " + by}).json().at("key").get<std::string>();
  };
  const auto root = make({{"name", "root"}, {"scopes", {"admin"}}}, "none");
  const auto a = make({{"name", "a"}, {"scopes", {"submit", "read"}}}, root),
             b = make({{"name", "b"}, {"scopes", {"submit", "read"}}}, root);
  const auto as = [](const std::string& key) { return std::vector<std::string>{"Authorization: Bearer " + key}; };
  const auto brought = http().post_bytes("/v1/blobs", "secret", as(a));
  ASSERT_EQ(brought.status, 201) << brought.body;
  const std::string digest = brought.json().at("digest");
  EXPECT_EQ(http().get("/v1/blobs/" + digest, as(a)).status, 200);
  EXPECT_EQ(http().get("/v1/blobs/" + digest, as(b)).status, 404);
  const Json request = {
      {"image", "host"}, {"steps", {{{"command", "cat x >y"}}}}, {"files", {{"x", {{"blob", digest}}}}}, {"artifacts", {"y"}}};
  EXPECT_EQ(http().post("/v1/jobs", request, as(b)).status, 422);
  auto waiting = as(a);
  waiting.emplace_back("Prefer: wait=30");
  const auto job = http().post("/v1/jobs", request, waiting).json();
  EXPECT_EQ(job.at("verdict"), "ok") << job.dump();
  const std::string path = "/v1/jobs/" + job.at("id").get<std::string>() + "/artifacts/y";
  EXPECT_EQ(http().get(path, as(a)).body, "secret");
  EXPECT_EQ(http().get(path, as(b)).status, 404);
  EXPECT_EQ(http().get(path, as(root)).body, "secret");
}

TEST_F(FilesTest, WhatIsBroughtOutlivesTheServer) {
  start();
  const auto digest = bring("kept");
  stop();
  start();
  EXPECT_EQ(http().get("/v1/blobs/" + digest).body, "kept");
}

}  // namespace
}  // namespace bailiff::system_tests
