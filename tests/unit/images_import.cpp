// Archives: what a root filesystem becomes, containers of both kinds, and what is refused.
#include <fmt/format.h>
#include <sys/stat.h>

#include <thread>

#include "images/archive.h"
#include "images/image_import.h"
#include "images/oci.h"
#include "tests/unit/images_archives.h"

namespace bailiff::images::testing {
namespace {

using core::Json;

Tar& with_root(Tar& tar) { return tar.directory("bin").file("bin/sh", "#!", 0755).directory("usr"); }
std::string plain() {
  Tar tar;
  return with_root(tar).finish();
}

TEST(Import, RefusesHostileArchivesWithTheReason) {
  struct Row {
    const char* what;
    std::function<void(Tar&)> add;
    const char* reason;
  };
  const Row rows[] = {
      {"up", [](Tar& t) { t.file("../x"); }, "\"..\""},
      {"up inside", [](Tar& t) { t.file("a/../../x"); }, "\"..\""},
      {"absolute", [](Tar& t) { t.file("/etc/passwd"); }, "absolute"},
      {"absolute link", [](Tar& t) { t.hard_link("x", "/etc/passwd"); }, "absolute"},
      {"link up", [](Tar& t) { t.hard_link("x", "../../etc/passwd"); }, "\"..\""},
      {"link to nothing", [](Tar& t) { t.hard_link("x", "nothing"); }, "not there"},
      {"link to a directory", [](Tar& t) { t.hard_link("x", "usr"); }, "directory"},
      {"through a symlink that leads out", [](Tar& t) { t.symlink("out", "../../etc").file("out/passwd"); }, "leads out"},
      {"hard link through a symlink that leads out", [](Tar& t) { t.symlink("out", "..").hard_link("x", "out/passwd"); }, "leads out"},
      {"symlink loop", [](Tar& t) { t.symlink("a", "b").symlink("b", "a").file("a/x"); }, "too many symbolic links"},
      {"through a file", [](Tar& t) { t.file("f", "1").file("f/x"); }, "no directory"},
      {"character device", [](Tar& t) { t.other("null", AE_IFCHR); }, "is a device"},
      {"block device", [](Tar& t) { t.other("sda", AE_IFBLK); }, "is a device"},
      {"fifo", [](Tar& t) { t.other("pipe", AE_IFIFO); }, "is a FIFO"},
      {"too deep",
       [](Tar& t) {
         std::string p;
         for (int i = 0; i < 200; ++i) p += "d/";
         t.file(p + "x");
       },
       "deeper"},
      {"too deep by links",
       [](Tar& t) {
         std::string p = "d";
         for (int i = 0; i < 100; ++i) p += "/d";
         t.directory(p).symlink("l", p).file("l/" + p + "/x");
       },
       "too deep"},
      {"long name", [](Tar& t) { t.file(std::string(300, 'n')); }, "longer than 255"},
  };
  for (const Row& row : rows) {
    Tar tar;
    row.add(with_root(tar));
    const Ran ran = import_bytes(tar.finish());
    EXPECT_NE(ran.error().find(row.reason), std::string::npos) << row.what << ": " << ran.answer.dump();
    EXPECT_EQ(ran.answer.value("kind", -1), static_cast<int>(core::ErrorKind::invalid)) << row.what;
  }
}

TEST(Import, RefusesWhatIsNoArchive) {
  EXPECT_NE(import_bytes("").error(), "");
  EXPECT_NE(import_bytes(std::string(10'000, 'x')).error(), "");
  EXPECT_NE(import_bytes(std::string(10'240, '\0')).error(), "");
  const std::string whole = plain();
  EXPECT_NE(import_bytes(whole.substr(0, 700)).error(), "") << "cut in the middle";
  std::string damaged = whole;
  damaged[100] = '~';
  EXPECT_NE(import_bytes(damaged).error(), "") << "a wrong checksum";
}

TEST(Import, BoundsWhatAnArchiveCosts) {
  ImportBounds bounds;
  bounds.free_bytes = 1 << 20;
  Tar zeros("gzip");
  const Ran bomb = import_bytes(with_root(zeros).file("zeros", std::string(64 << 20, '\0')).finish(), bounds);
  EXPECT_NE(bomb.error().find("bomb"), std::string::npos) << bomb.answer.dump();

  bounds = {};
  bounds.bytes = 1000;
  Tar large;
  EXPECT_NE(import_bytes(with_root(large).file("large", std::string(1001, 'x')).finish(), bounds).error().find("more than 1000 bytes"),
            std::string::npos);
  bounds = {};
  bounds.entries = 10;
  Tar many;
  for (int i = 0; i < 11; ++i) many.file("f" + std::to_string(i));
  EXPECT_NE(import_bytes(many.finish(), bounds).error().find("more than 10 entries"), std::string::npos);
}

TEST(Import, TheDigestIsOfWhatProgramsSee) {
  const Ran first = import_bytes(plain());
  ASSERT_EQ(first.error(), "");
  ASSERT_FALSE(first.digest.empty());
  Tar zipped("zstd");
  EXPECT_EQ(import_bytes(with_root(zipped).finish()).digest, first.digest);
  Tar reordered;
  EXPECT_EQ(import_bytes(reordered.directory("usr").directory("bin").file("bin/sh", "#!", 0755).finish()).digest, first.digest);
  Tar set_uid;
  EXPECT_EQ(import_bytes(set_uid.directory("bin").file("bin/sh", "#!", 06711).directory("usr").finish()).digest, first.digest);
  Tar devices;
  EXPECT_EQ(import_bytes(with_root(devices).directory("dev").other("dev/console", AE_IFCHR).finish()).digest, first.digest);
  Tar twice;
  EXPECT_EQ(import_bytes(twice.directory("bin").file("bin/sh", "old").directory("usr").file("bin/sh", "#!", 0755).finish()).digest,
            first.digest);
  Tar other;
  EXPECT_NE(import_bytes(other.directory("bin").file("bin/sh", "##", 0755).directory("usr").finish()).digest, first.digest);
  Tar not_executable;
  EXPECT_NE(import_bytes(not_executable.directory("bin").file("bin/sh", "#!", 0644).directory("usr").finish()).digest, first.digest);
}

// --- containers ------------------------------------------------------------------------------------------------------------------------

/// Packs layers as an OCI layout or as docker save does.
struct Container {
  std::vector<std::string> layers;          // as stored
  std::vector<std::string> diff_ids;        // of the archives that they hold; empty: the layers are archives as they stand
#ifdef __x86_64__
  static constexpr const char* kArchitecture = "amd64";
#else
  static constexpr const char* kArchitecture = "arm64";
#endif
  Json config = {{"os", "linux"},
                 {"architecture", kArchitecture},
                 {"config", {{"Env", {"PATH=/bin", "A=b=c"}}, {"WorkingDir", "/app"}, {"Entrypoint", {"/bin/e"}}}}};

  [[nodiscard]] std::string config_text() const {
    Json document = config;
    document["rootfs"] = {{"type", "layers"}, {"diff_ids", Json::array()}};
    for (std::size_t i = 0; i < layers.size(); ++i)
      document["rootfs"]["diff_ids"].push_back("sha256:" + (diff_ids.empty() ? sha256(layers[i]) : diff_ids[i]));
    return document.dump();
  }
  static Json descriptor(const std::string& bytes) { return {{"digest", "sha256:" + sha256(bytes)}, {"size", bytes.size()}}; }
  static std::string blob(const std::string& bytes) { return "blobs/sha256/" + sha256(bytes); }

  [[nodiscard]] std::string oci(const std::function<void(Json& index, std::map<std::string, std::string>& files)>& change = {}) const {
    Json manifest = {{"schemaVersion", 2}, {"config", descriptor(config_text())}, {"layers", Json::array()}};
    std::map<std::string, std::string> files = {{"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"}, {blob(config_text()), config_text()}};
    for (const auto& layer : layers) {
      manifest["layers"].push_back(descriptor(layer));
      files[blob(layer)] = layer;
    }
    files[blob(manifest.dump())] = manifest.dump();
    Json index = {{"schemaVersion", 2}, {"manifests", Json::array({descriptor(manifest.dump())})}};
    if (change) change(index, files);
    files["index.json"] = index.dump();
    return pack(files);
  }
  [[nodiscard]] std::string docker(bool old_layout, const std::function<void(std::map<std::string, std::string>&)>& change = {}) const {
    std::map<std::string, std::string> files;
    const std::string config_name = old_layout ? sha256(config_text()) + ".json" : blob(config_text());
    Json entry = {{"Config", config_name}, {"RepoTags", {"x:latest"}}, {"Layers", Json::array()}};
    files[config_name] = config_text();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string name = old_layout ? "layer" + std::to_string(i) + "/layer.tar" : blob(layers[i]);
      entry["Layers"].push_back(name);
      files[name] = layers[i];
    }
    files["manifest.json"] = Json::array({entry}).dump();
    if (change) change(files);
    return pack(files);
  }
  static std::string pack(const std::map<std::string, std::string>& files) {
    Tar tar;
    for (const auto& [name, text] : files) tar.file(name, text);
    return tar.finish();
  }
};

/// Three layers that use every rule there is, and what must come out of them.
std::vector<std::string> layers_with(const char* filter) {
  Tar base(filter), middle(filter), top(filter);
  base.directory("bin").file("bin/sh", "#!", 0755).directory("usr/lib").symlink("lib", "usr/lib");
  base.file("gone", "1").directory("cleared").file("cleared/old", "1").file("replaced/a", "1").file("kept", "k").file("kept-too", "2");
  middle.file(".wh.gone").file("cleared/.wh..wh..opq").file("cleared/new", "2").file("lib/through", "3").hard_link("second", "lib/through");
  middle.file(".wh..wh.plnk", "aufs").file("replaced", "now a file");
  middle.directory("kept-too").file("kept-too/now-a-directory", "4");
  top.file("cleared/.wh.never-there").file("gone", "again").file(".wh.kept").hard_link("kept-link", "second");
  return {base.finish(), middle.finish(), top.finish()};
}

std::string expected_of_layers() {
  Tar tar;
  tar.directory("bin")
      .file("bin/sh", "#!", 0755)
      .directory("usr/lib")
      .symlink("lib", "usr/lib")
      .directory("cleared")
      .file("cleared/new", "2");
  tar.file("usr/lib/through", "3").hard_link("second", "usr/lib/through").file("replaced", "now a file");
  tar.directory("kept-too").file("kept-too/now-a-directory", "4").file("gone", "again").file("kept-link", "3");
  return import_bytes(tar.finish()).digest;
}

TEST(Import, LayersOfEveryPackingMakeOneImage) {
  const std::string expected = expected_of_layers();
  ASSERT_FALSE(expected.empty());
  for (const char* filter : {"none", "gzip", "zstd"}) {
    const Ran ran = import_bytes(Container{layers_with(filter), {}}.oci());
    EXPECT_EQ(ran.error(), "") << filter;
    EXPECT_EQ(ran.digest, expected) << filter;
    EXPECT_EQ(ran.answer["source"], "oci");
    EXPECT_EQ(ran.answer["env"], Json({{"A", "b=c"}, {"PATH", "/bin"}}));
    EXPECT_EQ(ran.answer["workdir"], "/app");
    EXPECT_EQ(ran.answer["entrypoint"], Json::array({"/bin/e"}));
  }
  for (const bool old_layout : {true, false}) {
    const Ran ran = import_bytes(Container{layers_with("none"), {}}.docker(old_layout));
    EXPECT_EQ(ran.error(), "") << old_layout;
    EXPECT_EQ(ran.digest, expected) << old_layout;
    EXPECT_EQ(ran.answer["source"], "docker");
  }
}

TEST(Import, EveryBlobIsProven) {
  const Container container{layers_with("gzip"), {}};
  Tar evil;
  const std::string evil_layer = with_root(evil).file("evil", "x").finish();
  const auto swap_layer = [&](Json&, std::map<std::string, std::string>& files) {
    files[Container::blob(container.layers[1])] = evil_layer;
  };
  EXPECT_NE(import_bytes(container.oci(swap_layer)).error(), "");
  const auto swap_config = [&](Json&, std::map<std::string, std::string>& files) {
    files[Container::blob(container.config_text())].back() = ' ';
  };
  EXPECT_NE(import_bytes(container.oci(swap_config)).error().find("digest"), std::string::npos);
  const auto lose = [&](Json&, std::map<std::string, std::string>& files) { files.erase(Container::blob(container.layers[2])); };
  EXPECT_NE(import_bytes(container.oci(lose)).error().find("missing"), std::string::npos);
  const Container saved{layers_with("none"), {}};
  EXPECT_NE(import_bytes(saved.docker(true, [&](auto& files) { files["layer1/layer.tar"] = evil_layer; })).error().find("digest"),
            std::string::npos);
  EXPECT_NE(import_bytes(saved.docker(false, [&](auto& files) { files[Container::blob(saved.layers[0])] = evil_layer; })).error(), "");
}

TEST(Import, HostileContainers) {
  const Container container{layers_with("none"), {}};
  const auto with_index = [&](const std::function<void(Json&)>& change) {
    return import_bytes(container.oci([&](Json& index, auto&) { change(index); })).error();
  };
  EXPECT_NE(with_index([](Json& index) { index["manifests"] = Json::array(); }), "");
  EXPECT_NE(with_index([](Json& index) { index["manifests"] = 7; }), "");
  EXPECT_NE(with_index([](Json& index) { index["manifests"][0]["digest"] = "sha256:../../etc"; }).find("no sha256 digest"),
            std::string::npos);
  EXPECT_NE(with_index([](Json& index) { index["manifests"][0]["platform"] = {{"os", "windows"}}; }).find("there is no image for linux"),
            std::string::npos);
  EXPECT_NE(with_index([](Json& index) {
              index["manifests"].push_back(index["manifests"][0]);
              index["manifests"][1]["digest"] = "sha256:" + std::string(64, '0');
            }).find("there are 2 images"),
            std::string::npos);
  Container other = container;
  other.config["architecture"] = "vax";
  EXPECT_NE(import_bytes(other.oci()).error().find("linux/vax"), std::string::npos);
  EXPECT_NE(import_bytes(other.docker(true, [](auto& files) { files["manifest.json"] = "[" + std::string(100'000, '['); })).error(), "");
  Tar hostile;
  const Ran ran = import_bytes(Container{{with_root(hostile).symlink("o", "../..").file("o/x").finish()}, {}}.oci());
  EXPECT_NE(ran.error().find("leads out"), std::string::npos) << ran.answer.dump();
  Tar many_layers;
  ImportBounds bounds;
  bounds.layers = 2;
  EXPECT_NE(import_bytes(container.oci(), bounds).error().find("more than 2 layers"), std::string::npos);
}

/// The archive with another type in the header of `name`, as other writers than ours put it.
std::string retyped(std::string tar, const std::string& name, char type) {
  for (std::size_t at = 0; at + 512 <= tar.size(); at += 512) {
    if (std::string(tar.c_str() + at) != name) continue;
    tar[at + 156] = type;
    tar.replace(at + 148, 8, 8, ' ');
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(tar[at + i]);
    tar.replace(at + 148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    return tar;
  }
  ADD_FAILURE() << name << " is not in the archive";
  return tar;
}

TEST(Import, CountsWhatIsReadAndLeft) {
  ImportBounds bounds;
  bounds.free_bytes = 1 << 20;
  const std::string zeros(64 << 20, '\0');
  Tar devices("gzip");
  const Ran skipped = import_bytes(with_root(devices).file("dev/zeros", zeros).finish(), bounds);
  EXPECT_NE(skipped.error().find("bomb"), std::string::npos) << skipped.answer.dump();
  for (const char* name : {"usr/.wh.gone", "usr/.wh..wh..opq", ".wh..wh.plnk"}) {
    Tar layer("gzip");
    const Ran whiteout = import_bytes(Container{{with_root(layer).file(name, zeros).finish()}, {}}.oci(), bounds);
    EXPECT_NE(whiteout.error().find("bomb"), std::string::npos) << name << whiteout.answer.dump();
  }
  bounds = {};
  bounds.bytes = 5000;
  Tar large;
  EXPECT_NE(import_bytes(with_root(large).file("dev/a", std::string(5000, 'x')).finish(), bounds).error().find("more than 5000 bytes"),
            std::string::npos);
  Tar dumped;
  const std::string directory = with_root(dumped).file("dumped", "names of files").finish();
  EXPECT_NE(import_bytes(retyped(directory, "dumped", 'D')).error().find("directory with data"), std::string::npos);
}

TEST(Import, TheRatioIsOfTheWholeImport) {
  ImportBounds bounds;
  bounds.free_bytes = 1 << 20;
  Tar layer("gzip");
  const std::string tiny = with_root(layer).file("zeros", std::string(600 << 10, '\0')).finish();
  const auto error_of = [&](std::size_t layers) { return import_bytes(Container{std::vector(layers, tiny), {}}.oci(), bounds).error(); };
  EXPECT_EQ(error_of(1), "");
  EXPECT_NE(error_of(128).find("bomb"), std::string::npos) << error_of(128);
}

TEST(Import, LinksAcrossLayersShareTheBlocks) {
  Tar base, links;
  const std::string text(1 << 20, 'x');
  with_root(base).file("usr/large", text + "the end");
  for (int i = 0; i < 200; ++i) links.hard_link("usr/link" + std::to_string(i), "usr/large");
  const Ran ran = import_bytes(Container{{base.finish(), links.finish()}, {}}.oci());
  ASSERT_EQ(ran.error(), "");
  EXPECT_LT(ran.answer["bytes"].get<std::uint64_t>(), 2U << 20);
}

TEST(Import, BoundsTheImageBeforeItIsWritten) {
  Tar base, links;
  with_root(base).file("usr/small", std::string(1024, 'x'));
  for (int i = 0; i < 400; ++i) links.hard_link("usr/link" + std::to_string(i), "usr/small");
  ImportBounds bounds;
  bounds.bytes = 300'000;
  const Ran ran = import_bytes(Container{{base.finish(), links.finish()}, {}}.oci(), bounds);
  EXPECT_NE(ran.error().find("the image would have"), std::string::npos) << ran.answer.dump();
  struct stat info{};
  ASSERT_EQ(::fstat(ran.image.get(), &info), 0);
  EXPECT_EQ(info.st_size, 0);

  Tar many;
  with_root(many);
  for (int i = 0; i < 256; ++i) many.file("f" + std::to_string(i));
  EXPECT_NE(import_bytes(many.finish()).error().find("more than 256 entries in its root"), std::string::npos);
}

// --- the store and the worker ------------------------------------------------------------------------------------------------------------

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("bailiff-store-test." + std::to_string(::getpid()));
    auto store = ImageStore::open(directory_);
    ASSERT_TRUE(store) << store.error().what;
    store_.emplace(std::move(*store));
    auto worker = ImportWorker::find();
    ASSERT_TRUE(worker) << worker.error().what;
    worker_.emplace(std::move(*worker));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  core::Result<Imported> import(const std::string& name, const std::string& archive) {
    return import_image(*store_, *worker_, {.name = name}, memory_file(archive).get());
  }
  [[nodiscard]] std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) names.insert(entry.path().filename());
    names.erase(".lock");
    return names;
  }

  std::filesystem::path directory_;
  std::optional<ImageStore> store_;
  std::optional<ImportWorker> worker_;
};

TEST_F(StoreTest, AnImportedImageIsThereUntilItsLastNameGoes) {
  const auto imported = import("first", plain());
  ASSERT_TRUE(imported) << imported.error().what;
  EXPECT_EQ(imported->image.digest, "sha256:" + import_bytes(plain()).digest) << "the walls change nothing";
  ASSERT_TRUE(import("second", plain()));
  const std::string content = content_name(imported->image.digest) + ".erofs";
  EXPECT_EQ(files(), (std::set<std::string>{content, "first.json", "second.json"}));
  const auto all = store_->list();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2U);
  EXPECT_EQ((*all)[0].name, "first");
  EXPECT_EQ((*all)[0].bytes, std::filesystem::file_size(directory_ / content));
  ASSERT_TRUE(store_->remove("first"));
  EXPECT_EQ(files(), (std::set<std::string>{content, "second.json"}));
  ASSERT_TRUE(store_->remove("second"));
  EXPECT_EQ(files(), std::set<std::string>{});
  EXPECT_EQ(store_->remove("second").error().kind, core::ErrorKind::not_found);
}

TEST_F(StoreTest, WhatIsHeldStays) {
  const auto imported = import("used", plain());
  ASSERT_TRUE(imported);
  auto held = store_->hold(imported->image.digest);
  ASSERT_TRUE(held);
  const auto refused = store_->remove("used");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, core::ErrorKind::conflict);
  EXPECT_TRUE(store_->find("used"));
  // A new content under the name: the old one has no name any more, but stays while it is held.
  Tar tar;
  ASSERT_TRUE(import("used", with_root(tar).file("more", "x").finish()));
  EXPECT_EQ(store_->collect_garbage()->held, 1U);
  held->reset();
  const auto collected = store_->collect_garbage();
  ASSERT_TRUE(collected);
  EXPECT_EQ(collected->files, 1U);
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(StoreTest, WhatLanguagesSaidInAnImageIsRemembered) {
  const auto imported = import("tools", plain());
  ASSERT_TRUE(imported);
  const std::string digest = imported->image.digest;
  const ProbedVersion gcc{{"gcc", "--version"}, "gcc 12"}, none{{"tcc", "-v"}, ""};
  ASSERT_TRUE(store_->note_versions("tools", digest, {{"c", gcc}}));
  ASSERT_TRUE(store_->note_versions("tools", digest, {{"c-tcc", none}}));
  const auto found = store_->find("tools");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->versions, (std::map<std::string, ProbedVersion>{{"c", gcc}, {"c-tcc", none}}));
  EXPECT_EQ(store_->note_versions("tools", "sha256:" + std::string(64, '0'), {{"c", gcc}}).error().kind, core::ErrorKind::conflict);
  EXPECT_EQ(store_->note_versions("others", digest, {{"c", gcc}}).error().kind, core::ErrorKind::not_found);
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(StoreTest, AFailedImportLeavesNothing) {
  Tar hostile;
  EXPECT_EQ(import("bad", with_root(hostile).file("../x").finish()).error().kind, core::ErrorKind::invalid);
  for (const char* name : {"host", "sha256-x", "../up", "UP", "", ".dot", "a/b"}) EXPECT_FALSE(import(name, plain())) << name;
  EXPECT_EQ(files(), std::set<std::string>{});
  // What a killed writer left goes with the next one.
  std::ofstream(directory_ / ".new-1") << "half";
  ASSERT_TRUE(import("good", plain()));
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(StoreTest, AFailedReplacementLeavesWhatWasThere) {
  const auto first = import("name", plain());
  ASSERT_TRUE(first);
  Tar tar;
  const std::string other = with_root(tar).file("more", "x").finish();
  std::string asked;
  const auto refuse = [&](const StoredImage& image) -> core::Status {
    asked = image.digest;
    EXPECT_TRUE(std::filesystem::exists(directory_ / (content_name(asked) + ".erofs")));
    return core::error(core::ErrorKind::unavailable, "cannot be mounted");
  };
  const ImportRequest request{.name = "name", .before_named = refuse};
  EXPECT_EQ(import_image(*store_, *worker_, request, memory_file(other).get()).error().kind, core::ErrorKind::unavailable);
  EXPECT_EQ(asked, "sha256:" + import_bytes(other).digest);
  EXPECT_EQ(store_->find("name")->digest, first->image.digest);
  EXPECT_EQ(files(), (std::set<std::string>{content_name(first->image.digest) + ".erofs", "name.json"}));
}

TEST_F(StoreTest, OpensNothingThatSomebodyElsePutThere) {
  const auto outside = directory_.string() + ".outside";
  std::ofstream(outside) << "kept";
  const auto lock = directory_ / ".lock";
  std::filesystem::remove(lock);
  for (const bool hard : {true, false}) {
    if (hard) std::filesystem::create_hard_link(outside, lock);
    else std::filesystem::create_symlink(outside, lock);
    EXPECT_FALSE(store_->draft(0)) << hard;
    std::filesystem::remove(lock);
  }
  ASSERT_EQ(::mkfifo(lock.c_str(), 0600), 0);
  EXPECT_FALSE(store_->draft(0));
  std::filesystem::remove(lock);
  // A manifest on its way in is never written through what has its name.
  std::filesystem::create_hard_link(outside, directory_ / (".new-" + std::to_string(::getpid()) + ".json"));
  ASSERT_TRUE(import("tools", plain()));
  std::filesystem::create_hard_link(outside, directory_ / (".new-" + std::to_string(::getpid()) + ".json"));
  ASSERT_TRUE(store_->note_versions("tools", store_->find("tools")->digest, {{"c", {{"gcc"}, "12"}}}));
  std::string text;
  std::getline(std::ifstream(outside) >> std::ws, text);
  EXPECT_EQ(text, "kept");
  std::filesystem::remove(outside);

  const auto link = directory_.string() + ".link";
  std::filesystem::create_directory_symlink(directory_, link);
  EXPECT_FALSE(ImageStore::open(link));
  std::filesystem::remove(link);
}

TEST(Settings, AreWhatAProgramCanBeStartedWith) {
  StoredImage good;
  good.env["PATH"] = "/bin";
  good.workdir = "/app";
  good.entrypoint = {"/bin/e"};
  EXPECT_TRUE(check_settings(good));
  const auto refused = [&](const std::function<void(StoredImage&)>& change) {
    StoredImage bad = good;
    change(bad);
    return !check_settings(bad);
  };
  EXPECT_TRUE(refused([](auto& image) { image.env["A=B"] = "x"; }));
  EXPECT_TRUE(refused([](auto& image) { image.env[""] = "x"; }));
  EXPECT_TRUE(refused([](auto& image) { image.env["A"] = std::string("x\0y", 3); }));
  EXPECT_TRUE(refused([](auto& image) { image.env["A"] = std::string(200'000, 'x'); }));
  EXPECT_TRUE(refused([](auto& image) { image.workdir = "work"; }));
  EXPECT_TRUE(refused([](auto& image) { image.workdir = std::string("/\0", 2); }));
  EXPECT_TRUE(refused([](auto& image) { image.entrypoint = std::vector<std::string>(300, "x"); }));
  EXPECT_TRUE(refused([](auto& image) { image.entrypoint = {std::string("a\0b", 3)}; }));
}

TEST_F(StoreTest, AStreamAndALayoutDirectory) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const core::Fd out(ends[0]);
  core::Fd in(ends[1]);
  const std::string bytes = plain();
  std::jthread writer([&] {
    for (std::size_t at = 0; at < bytes.size(); at += 1000)
      (void)!::write(in.get(), bytes.data() + at, std::min<std::size_t>(1000, bytes.size() - at));
    in.reset();
  });
  const auto streamed = import_image(*store_, *worker_, {.name = "stream"}, out.get());
  ASSERT_TRUE(streamed) << streamed.error().what;
  EXPECT_EQ(streamed->image.digest, "sha256:" + import_bytes(plain()).digest);

  const auto layout = directory_.string() + ".layout";
  std::filesystem::create_directories(layout);
  std::ofstream(layout + "/archive.tar", std::ios::binary) << Container{layers_with("gzip"), {}}.oci();
  ASSERT_EQ(std::system(("tar -C " + layout + " -xf " + layout + "/archive.tar").c_str()), 0);
  const core::Fd directory(::open(layout.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto imported = import_image(*store_, *worker_, {.name = "layout"}, directory.get());
  std::filesystem::remove_all(layout);
  ASSERT_TRUE(imported) << imported.error().what;
  EXPECT_EQ(imported->image.digest, "sha256:" + expected_of_layers());
  EXPECT_EQ(imported->image.entrypoint, std::vector<std::string>{"/bin/e"});
}

}  // namespace
}  // namespace bailiff::images::testing
