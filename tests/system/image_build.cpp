// Images from Debian packages and the languages in them, by the real `bailiff`. What is built for the first time needs Debian's mirror;
// it is kept in a cache (TEST_IMAGES, else /var/cache/bailiff/test-images), and every image of the cache has its languages tested.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/system/host_census.h"

namespace bailiff::system_tests {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// One run of `bailiff`, its outputs in files of `directory`.
class Command {
 public:
  Command(const fs::path& directory, std::vector<std::string> arguments) : out_(directory / "out"), err_(directory / "err") {
    arguments.insert(arguments.begin(), BAILIFF_PATH);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  [[nodiscard]] std::string out() const { return text(out_); }
  [[nodiscard]] std::string err() const { return text(err_); }

 private:
  static std::string text(const fs::path& path) {
    std::ifstream stream(path);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  fs::path out_, err_;
  pid_t pid_ = -1;
};

class ImageBuildTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::string pattern = (fs::temp_directory_path() / "bailiff-image-build-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    before_ = mounts();
  }
  void TearDown() override {
    if (directory_.empty()) return;
    fs::remove_all(directory_);
    EXPECT_EQ(mounts(), before_);
    EXPECT_EQ(leftovers(), std::set<std::string>{});
  }
  [[nodiscard]] std::vector<std::string> build(const std::string& store, const std::string& image) const {
    return {"image", "build", "--images", store, image};
  }
  [[nodiscard]] std::string store(const std::string& name) const { return (directory_ / name).string(); }
  static std::string cache() {
    const char* named = std::getenv("TEST_IMAGES");
    const fs::path path = named != nullptr ? named : "/var/cache/bailiff/test-images";
    fs::create_directories(path.parent_path());
    return path.string();
  }
  static std::set<std::string> names_in(const fs::path& path) {
    std::set<std::string> names;
    if (fs::exists(path))
      for (const auto& entry : fs::directory_iterator(path)) names.insert(entry.path().filename().string());
    return names;
  }
  static std::set<std::string> leftovers() {
    std::set<std::string> found;
    for (const std::string& name : names_in("/var/tmp"))
      if (name.starts_with("bailiff-build.")) found.insert(name);
    return found;
  }
  /// Until what it says has `text`; false: it never does.
  static bool says(const Command& command, const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(5);
    while (std::chrono::steady_clock::now() < deadline && command.err().find(text) == std::string::npos) {
      if (::kill(command.pid(), 0) != 0) return false;
      ::poll(nullptr, 0, 50);
    }
    return command.err().find(text) != std::string::npos;
  }

  fs::path directory_;
  std::set<std::string> before_;
};

TEST_F(ImageBuildTest, TheSamePackagesGiveTheSameDigest) {
  std::vector<std::string> digests;
  for (const char* name : {"first", "second"}) {
    auto arguments = build(store(name), "minimal");
    arguments.emplace_back("--json");
    Command command(directory_, arguments);
    ASSERT_EQ(command.wait(), 0) << command.err();
    digests.push_back(Json::parse(command.out()).at("digest"));
    EXPECT_NE(command.err().find("installing remaining packages"), std::string::npos) << "progress is shown";
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(ImageBuildTest, ABuildThatIsKilledOrFailsLeavesNothing) {
  for (const int signal : {SIGKILL, SIGTERM}) {
    Command command(directory_, build(store("store"), "minimal"));
    ASSERT_TRUE(says(command, "installing essential packages")) << command.err();
    const auto below = processes_below(command.pid());
    EXPECT_GT(below.size(), 3U) << "it is at work";
    ASSERT_EQ(::kill(command.pid(), signal), 0);
    const int code = command.wait();
    EXPECT_NE(code, 0);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto any_alive = [&] { return std::ranges::any_of(below, [](const ProcessId& process) { return is_alive(process); }); };
    while (any_alive() && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 20);
    EXPECT_FALSE(any_alive());
    EXPECT_EQ(mounts(), before_);
    if (signal == SIGTERM) {
      EXPECT_EQ(leftovers(), std::set<std::string>{}) << "and what the killed one left is gone too";
    }
    for (const std::string& name : names_in(store("store"))) EXPECT_EQ(name, ".lock");
  }
  fs::create_directory(directory_ / "definitions");
  std::ofstream(directory_ / "definitions/wrong.toml") << "packages = [\"no-such-package-anywhere\"]\n";
  auto arguments = build(store("store"), "wrong");
  arguments.insert(arguments.end(), {"--definitions", (directory_ / "definitions").string()});
  Command command(directory_, arguments);
  EXPECT_EQ(command.wait(), 69) << command.err();
  EXPECT_NE(command.err().find("no-such-package-anywhere"), std::string::npos) << command.err();
}

TEST_F(ImageBuildTest, EveryLanguageOfTheImagesHerePassesItsTest) {
  auto arguments = build(cache(), "common");
  arguments.emplace_back("--if-missing");
  Command built(directory_, arguments);
  ASSERT_EQ(built.wait(), 0) << built.err();
  Command listed(directory_, {"image", "list", "--json", "--images", cache()});
  ASSERT_EQ(listed.wait(), 0) << listed.err();
  std::set<std::string> images;
  const Json list = Json::parse(listed.out());
  for (const Json& image : list.at("items")) images.insert(image.at("name"));
  ASSERT_TRUE(images.contains("common"));
  for (const std::string& image : images) {
    Command described(directory_, {"image", "inspect", image, "--images", cache()});
    ASSERT_EQ(described.wait(), 0) << described.err();
    std::vector<std::string> test = {"language", "test", "--json", "--images", cache(), "--image", image};
    const Json description = Json::parse(described.out());
    for (const auto& [name, version] : description.at("languages").items()) test.push_back(name);
    if (image == "common") {
      EXPECT_GE(test.size(), 7U + 7U) << "C, C++, Python, JavaScript, Java and variants";
    }
    if (test.size() == 7U) continue;  // an image without languages
    Command command(directory_, test);
    EXPECT_EQ(command.wait(), 0) << command.err();
    const Json report = Json::parse(command.out());
    for (const Json& item : report.at("items")) {
      EXPECT_TRUE(item.at("passed").get<bool>()) << item.dump();
      EXPECT_EQ(item.at("image"), image);
      EXPECT_FALSE(item.at("version").is_null()) << item.dump();
    }
  }
}

}  // namespace
}  // namespace bailiff::system_tests
