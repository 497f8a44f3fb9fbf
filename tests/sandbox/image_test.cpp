// Steps in EROFS images: made here by mkfs.erofs from a directory with the victim in it.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "sandbox/erofs_mount.h"
#include "sandbox/image_mounts.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Verdict;

/// A launcher of its own with an images directory in which one image lies.
class ImageTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (std::system("mkfs.erofs --help >/dev/null 2>&1") != 0) GTEST_SKIP() << "mkfs.erofs is missing (package erofs-utils)";
    std::ifstream filesystems("/proc/filesystems");
    if (std::string({std::istreambuf_iterator<char>(filesystems), {}}).find("\terofs\n") == std::string::npos)
      GTEST_SKIP() << "this kernel has no EROFS";
    // Not below /tmp, which the launcher's mount namespace hides.
    directory_ = fs::read_symlink("/proc/self/exe").parent_path() / ("image_test." + std::to_string(getpid()));
    fs::create_directories(directory_ / "root/bin");
    fs::create_directories(directory_ / "root/home/app");
    fs::create_directories(directory_ / "images");
    fs::copy_file(directory_.parent_path() / "victim", directory_ / "root/bin/victim");
    std::ofstream(directory_ / "root/home/app/marker") << "of the image";
    fs::create_symlink("bin", directory_ / "root/link");
    make_image(name_);
  }
  void TearDown() override {
    if (!directory_.empty()) fs::remove_all(directory_);
    SandboxTest::TearDown();
  }

  [[nodiscard]] std::string content(const std::string& name) const { return (directory_ / "images" / (name + ".erofs")).string(); }
  void make_image(const std::string& name) const {
    const std::string command = "mkfs.erofs --quiet " + content(name) + " " + (directory_ / "root").string() + " >/dev/null 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  [[nodiscard]] core::Result<Launcher> launch() const {
    LauncherConfig config;
    config.images = {{"host", Image::Kind::host, ""}};
    config.images_directory = (directory_ / "images").string();
    config.cgroup_parent = "bailiff-image-test";
    config.uid_base = 0x40000000;
    return Launcher::start(config);
  }
  static Ran run_in(Slot& slot, const std::string& image, std::vector<std::string> words, const core::Limits& limits = victim({}).limits) {
    StepRequest request = victim(std::move(words));
    request.limits = limits;
    request.argv.front() = "/link/victim";
    request.trees.clear();
    request.image = image;
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    Ran ran{slot.run(request), "", ""};
    ran.out = read_all(request.stdout_fd.get()).value_or("");
    return ran;
  }

  fs::path directory_;
  const std::string name_ = "sha256-" + std::string(64, 'a');
};

TEST_F(ImageTest, AStepSeesTheImageAddedWhileItsSlotRuns) {
  auto launcher = launch();
  ASSERT_TRUE(launcher) << launcher.error().what;
  auto slot = launcher->next_slot();
  ASSERT_TRUE(slot);
  const auto early = run_in(*slot, name_, {"exit", "0"});
  ASSERT_FALSE(early.report);
  EXPECT_EQ(early.report.error().kind, ErrorKind::invalid);

  const auto added = launcher->add_image(name_);
  ASSERT_TRUE(added) << added.error().what;
  ASSERT_TRUE(launcher->add_image(name_));
  for (int i = 0; i < 4; ++i) {  // both stations
    const auto ran = run_in(*slot, name_, {"print_file", "/home/app/marker"});
    ASSERT_TRUE(ran.report) << ran.report.error().what;
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    EXPECT_EQ(ran.out, "of the image");
  }
  const auto written = run_in(*slot, name_, {"write_file", "/home/app/marker", "x"});
  ASSERT_TRUE(written.report);
  EXPECT_NE(written.verdict(), Verdict::ok);
  const auto mounts = run_in(*slot, name_, {"print_file", "/proc/self/mounts"});
  ASSERT_TRUE(mounts.report);
  EXPECT_NE(mounts.out.find(" /bin erofs ro,nosuid,nodev"), std::string::npos) << mounts.out;
  EXPECT_EQ(mounts.out.find(directory_.string()), std::string::npos) << "a host path shows: " << mounts.out;

  ASSERT_TRUE(launcher->remove_image(name_));
  const auto late = run_in(*slot, name_, {"exit", "0"});
  ASSERT_FALSE(late.report);
  EXPECT_EQ(late.report.error().kind, ErrorKind::invalid);
  ASSERT_TRUE(launcher->add_image(name_));
  EXPECT_EQ(run_in(*slot, name_, {"exit", "0"}).verdict(), Verdict::ok);
}

// The kernel kills nobody there: it takes the file's pages away and reads them again for as long as the program lives. With 40 MB of its
// own the program has room for half of the file, which is slow and no more.
TEST_F(ImageTest, WhoHasNoMemoryLeftForFilesHasMetTheMemoryLimit) {
  const std::string name = "sha256-" + std::string(64, 'f');
  std::ofstream(directory_ / "root/home/app/data") << std::string(32 << 20, 'x');
  make_image(name);
  auto launcher = launch();
  ASSERT_TRUE(launcher) << launcher.error().what;
  ASSERT_TRUE(launcher->add_image(name));
  auto slot = launcher->next_slot();
  ASSERT_TRUE(slot);
  const auto thrash = [&](const std::string& kib, std::uint64_t cpu_us) {
    core::Limits limits = victim({}).limits;
    limits.cpu_time_us = cpu_us;
    limits.wall_time_us = 2 * cpu_us;
    return run_in(*slot, name, {"thrash", kib, "/home/app/data"}, limits);
  };
  const auto ended = thrash("64000", 60'000'000);
  ASSERT_TRUE(ended.report) << ended.report.error().what;
  EXPECT_EQ(ended.verdict(), Verdict::memory_limit_exceeded) << describe(ended);
  EXPECT_EQ(ended.evidence("oom_kill"), 0);
  EXPECT_GT(ended.evidence("memory_refaults"), 1000);
  ASSERT_GT(ended.outcome().usage.cpu_us, 600'000u);
  EXPECT_LT(ended.outcome().usage.cpu_us, 30'000'000u);

  // It had no memory left for a second or more before it was ended. A time limit within that second is met by want of memory; how much
  // time the program takes to get there differs from run to run, most of all on an emulated machine.
  const std::uint64_t within_us = ended.outcome().usage.cpu_us - 500'000;
  for (int tries = 3; tries > 0; --tries) {
    const auto limited = thrash("64000", within_us);
    ASSERT_TRUE(limited.report) << limited.report.error().what;
    EXPECT_EQ(limited.evidence("oom_kill"), 0);
    if (limited.verdict() == Verdict::memory_limit_exceeded) break;
    EXPECT_GT(tries, 1) << within_us << " us: " << describe(limited);
  }

  const auto roomy = thrash("40000", 2'000'000);
  ASSERT_TRUE(roomy.report) << roomy.report.error().what;
  EXPECT_EQ(roomy.verdict(), Verdict::time_limit_exceeded) << describe(roomy);
  EXPECT_EQ(roomy.evidence("oom_kill"), 0);
  EXPECT_GT(roomy.evidence("memory_refaults"), 1000);
}

/// Device numbers of EROFS mounts, in the words of /proc/PID/mountinfo.
std::set<std::string> erofs_devices(std::istream&& mountinfo) {
  std::set<std::string> devices;
  for (std::string line; std::getline(mountinfo, line);) {
    if (line.find(" - erofs ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string id, parent, device;
    fields >> id >> parent >> device;
    devices.insert(device);
  }
  return devices;
}

/// Processes that see a mount of `device`: their ids, and what /proc/PID/stat says of them first.
std::string who_mounts(const std::string& device) {
  std::string who;
  std::error_code fault;
  for (const auto& process : fs::directory_iterator("/proc", fault)) {
    if (std::isdigit(static_cast<unsigned char>(process.path().filename().c_str()[0])) == 0 ||
        !erofs_devices(std::ifstream(process.path() / "mountinfo")).contains(device))
      continue;
    std::string stat;
    std::getline(std::ifstream(process.path() / "stat"), stat);
    who += stat.substr(0, 60) + '\n';
  }
  return who;
}

TEST_F(ImageTest, AnIdleSlotLetsGoOfARemovedImage) {
  auto launcher = launch();
  ASSERT_TRUE(launcher) << launcher.error().what;
  auto slot = launcher->next_slot();
  ASSERT_TRUE(slot) << slot.error().what;
  ASSERT_TRUE(launcher->add_image(name_));
  std::string mounts;
  for (int i = 0; i < 4; ++i) mounts = run_in(*slot, name_, {"print_file", "/proc/self/mountinfo"}).out;
  const auto devices = erofs_devices(std::istringstream(mounts));
  ASSERT_EQ(devices.size(), 1U) << mounts;
  EXPECT_NE(who_mounts(*devices.begin()), "");
  ASSERT_TRUE(launcher->remove_image(name_));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);  // an emulated machine that shares its CPUs is slow
  while (!who_mounts(*devices.begin()).empty() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(who_mounts(*devices.begin()), "");
  ASSERT_TRUE(launcher->add_image(name_));
  EXPECT_EQ(run_in(*slot, name_, {"exit", "0"}).verdict(), Verdict::ok);
}

TEST_F(ImageTest, OnlyContentThatNobodyCanChangeIsOffered) {
  auto launcher = launch();
  ASSERT_TRUE(launcher) << launcher.error().what;
  const std::string absent = "sha256-" + std::string(64, 'b'), link = "sha256-" + std::string(64, 'c'),
                    noise = "sha256-" + std::string(64, 'd'), fifo = "sha256-" + std::string(64, 'e');
  fs::create_symlink(content(name_), content(link));
  std::ofstream(content(noise)) << std::string(100'000, 'x');
  ASSERT_EQ(mkfifo(content(fifo).c_str(), 0600), 0);
  for (const std::string& name : {absent, link, noise, fifo, std::string("../images/") + name_, std::string("host"), std::string()})
    EXPECT_FALSE(launcher->add_image(name)) << name;

  core::Fd writer(open(content(name_).c_str(), O_RDWR | O_CLOEXEC));
  const auto writable = launcher->add_image(name_);
  ASSERT_FALSE(writable);
  EXPECT_NE(writable.error().what.find("may still be written to"), std::string::npos) << writable.error().what;
  writer.reset();
  EXPECT_TRUE(launcher->add_image(name_));
  struct stat info{};
  ASSERT_EQ(stat(content(name_).c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0U);
  EXPECT_EQ(info.st_mode & 07777, 0444U);
}

TEST_F(ImageTest, ALoopDeviceServesAKernelWithoutFileBackedMounts) {
  if (access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/loop-control is missing";
  // In a mount namespace of a child's own, so that nothing is left whatever fails.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const core::Fd file(open(content(name_).c_str(), O_RDONLY | O_CLOEXEC));
    const std::string target = (directory_ / "root/home").string();
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(1);
    const auto mounted = mount_erofs(file.get(), target, ErofsBacking::loop);
    if (!mounted) (void)std::fprintf(stderr, "%s\n", mounted.error().what.c_str());
    if (!mounted) _exit(2);
    _exit(access((target + "/bin/victim").c_str(), X_OK) == 0 ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace bailiff::sandbox::testing
