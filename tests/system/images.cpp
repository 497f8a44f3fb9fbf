// Images through the real port: brought in while the server runs, used, and removed when nothing needs them.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

namespace fs = std::filesystem;

class ImageTest : public SystemTest {
 protected:
  void SetUp() override {
    SystemTest::SetUp();
    for (const char* busybox : {"/bin/busybox", "/usr/bin/busybox"})
      if (fs::exists(busybox)) busybox_ = busybox;
    if (busybox_.empty()) GTEST_SKIP() << "busybox is missing (package busybox-static)";
    std::ifstream filesystems("/proc/filesystems");
    if (std::string({std::istreambuf_iterator<char>(filesystems), {}}).find("\terofs\n") == std::string::npos)
      GTEST_SKIP() << "this kernel has no EROFS";
  }
  /// A root filesystem with a shell, and `marker` in /etc/marker, as a tar archive.
  [[nodiscard]] std::string archive(const std::string& marker, const std::string& more = "") const {
    const fs::path root = fs::temp_directory_path() / ("bailiff-images-test." + std::to_string(::getpid()));
    fs::create_directories(root / "bin");
    fs::create_directories(root / "etc");
    fs::copy_file(busybox_, root / "bin/busybox");
    for (const char* tool : {"sh", "cat", "sleep", "true", "echo"}) fs::create_symlink("busybox", root / "bin" / tool);
    std::ofstream(root / "etc/marker") << marker;
    const std::string tar = root.string() + ".tar";
    EXPECT_EQ(std::system(("tar -P -C " + root.string() + " -czf " + tar + " . " + more).c_str()), 0);
    std::ifstream in(tar, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    fs::remove_all(root);
    fs::remove(tar);
    return bytes;
  }
  [[nodiscard]] Json find_image(const std::string& name) const {
    const Json all = http().get("/v1/images").json();
    for (const Json& image : all.at("items"))
      if (image.at("name") == name) return image;
    return nullptr;
  }
  static Json in_image(const std::string& name, const std::vector<std::string>& argv, Json limits = Json::object()) {
    Json request = command(argv, std::move(limits));
    request["image"] = name;
    return request;
  }

  std::string busybox_;
};

TEST_F(ImageTest, AnImageIsOfferedAtOnceAndAfterARestart) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(http().post("/v1/jobs", in_image("tools", {"cat", "/etc/marker"})).status, 422);
  const auto made = http().post_bytes("/v1/images?name=tools", archive("first"));
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.headers.at("location"), "/v1/images/tools");
  EXPECT_EQ(made.json().at("kind"), "erofs");
  EXPECT_EQ(find_image("tools").at("digest"), made.json().at("digest"));
  for (int i = 0; i < 4; ++i) {  // every station of every slot
    const auto job = run(in_image("tools", {"cat", "/etc/marker"}));
    EXPECT_EQ(job.at("verdict"), "ok") << job.dump(2);
    EXPECT_EQ(job.at("steps").at(0).at("stdout"), "first");
    EXPECT_EQ(job.at("image_digest"), made.json().at("digest"));
  }
  const auto changed = http().post_bytes("/v1/images?name=tools", archive("second"));
  ASSERT_EQ(changed.status, 201) << changed.body;
  EXPECT_NE(changed.json().at("digest"), made.json().at("digest"));
  EXPECT_EQ(run(in_image("tools", {"cat", "/etc/marker"})).at("steps").at(0).at("stdout"), "second");
  stop();
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(run(in_image("tools", {"cat", "/etc/marker"})).at("steps").at(0).at("stdout"), "second");
  EXPECT_EQ(run(command({"true"})).at("verdict"), "ok") << "host is there too";
}

TEST_F(ImageTest, WhatIsInUseCannotVanish) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  ASSERT_EQ(http().post_bytes("/v1/images?name=used", archive("x")).status, 201);
  const auto running = submit(in_image("used", {"sleep", "60"}, {{"wall_time_ms", 100'000}}));
  ASSERT_TRUE(eventually([&]() { return state_of(running) == "running"; }));
  EXPECT_EQ(http().remove("/v1/images/used").status, 409);
  EXPECT_EQ(http().post_bytes("/v1/images?name=used", archive("y")).status, 409);
  const auto queued = submit(in_image("used", {"true"}));
  EXPECT_EQ(http().post("/v1/jobs/" + running + ":cancel", nullptr).status / 100, 2);
  EXPECT_EQ(wait(queued).at("verdict"), "ok");
  EXPECT_EQ(wait(running).at("verdict"), "cancelled");
  EXPECT_EQ(http().remove("/v1/images/used").status, 204);
  EXPECT_EQ(http().remove("/v1/images/used").status, 404);
  EXPECT_EQ(http().post("/v1/jobs", in_image("used", {"true"})).status, 422);
  EXPECT_EQ(http().remove("/v1/images/host").status, 409);
  EXPECT_EQ(run(command({"true"})).at("verdict"), "ok");
}

TEST_F(ImageTest, ARefusedChangeHarmsNoJobThatWaits) {
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1"}));
  ASSERT_EQ(http().post_bytes("/v1/images?name=used", archive("x")).status, 201);
  std::vector<std::string> waiting;
  for (int i = 0; i < 40; ++i) waiting.push_back(submit(in_image("used", {"true"})));
  int refused = 0;
  while (state_of(waiting.back()) == "queued") {
    EXPECT_EQ(http().remove("/v1/images/used").status, 409);
    ++refused;
  }
  EXPECT_GT(refused, 0);
  for (const auto& id : waiting) EXPECT_EQ(wait(id).at("verdict"), "ok");
}

TEST_F(ImageTest, LanguagesTakeNoImageFromTheNetwork) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto refused = http().post_bytes("/v1/images?name=common", archive("x"));
  EXPECT_EQ(refused.status, 409) << refused.body;
  EXPECT_TRUE(find_image("common").is_null());
}

TEST_F(ImageTest, RefusalsTellWhy) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto refused = http().post_bytes("/v1/images?name=bad", archive("x", "../../../../../etc/hostname"));
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_NE(refused.body.find("names with"), std::string::npos) << refused.body;
  EXPECT_EQ(http().post_bytes("/v1/images?name=bad", "noise").status, 422);
  EXPECT_EQ(http().post_bytes("/v1/images?name=host", archive("x")).status, 422);
  EXPECT_EQ(http().post_bytes("/v1/images?name=..%2Fx", archive("x")).status, 422);
  EXPECT_EQ(http().post_bytes("/v1/images", archive("x")).status, 422);
  EXPECT_TRUE(find_image("bad").is_null());
}

}  // namespace
}  // namespace bailiff::system_tests
