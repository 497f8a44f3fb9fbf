// Programs that a file's mode or capabilities would make more of, and programs that want more than their CPUs: launchers of their own.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
namespace fs = std::filesystem;

/// An image directory with the victim in it, under modes that give privileges; gone with the object.
class PrivilegedImage {
 public:
  explicit PrivilegedImage(const std::string& victim) {
    for (const char* directory : {"/bin", "/etc"}) fs::create_directories(path_ + directory);
    for (const auto& [name, mode] :
         std::map<std::string, mode_t>{{"plain", 0755}, {"set_user", 04755}, {"set_group", 02755}, {"both", 06755}, {"capable", 0755}}) {
      const std::string file = path_ + "/bin/" + name;
      std::ofstream(file, std::ios::binary) << victim;
      EXPECT_EQ(chmod(file.c_str(), mode), 0);
    }
    // Version 2, effective, every capability permitted and inheritable.
    constexpr unsigned char kAll[20] = {1,    0,    0,    2,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    has_capable_ = setxattr((path_ + "/bin/capable").c_str(), "security.capability", kAll, sizeof kAll, 0) == 0;
  }
  ~PrivilegedImage() { fs::remove_all(path_); }
  PrivilegedImage(const PrivilegedImage&) = delete;
  PrivilegedImage& operator=(const PrivilegedImage&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool has_capable() const { return has_capable_; }

 private:
  std::string path_ = own_directory() + "/privileged-image." + std::to_string(getpid());
  bool has_capable_ = false;
};

class PrivilegeTest : public SandboxTest {
 protected:
  static Ran run_in(Slot& slot, StepRequest request) {
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    Ran ran{slot.run(request), "", ""};
    EXPECT_TRUE(ran.report) << ran.report.error().what;
    ran.out = read_all(request.stdout_fd.get()).value_or("");
    return ran;
  }
};

TEST_F(PrivilegeTest, ModesAndCapabilitiesOfFilesGiveNothing) {
  const PrivilegedImage image(text_of(own_directory() + "/victim"));
  EXPECT_TRUE(image.has_capable());
  LauncherConfig own = config();
  own.images = {{"privileged", Image::Kind::directory, image.path()}};
  auto launcher = Launcher::start(own);
  ASSERT_TRUE(launcher) << launcher.error().what;
  auto slot = launcher->next_slot();
  ASSERT_TRUE(slot) << slot.error().what;
  for (const char* name : {"plain", "set_user", "set_group", "both", "capable"}) {
    auto request = victim({});
    request.trees.clear();
    request.image = "privileged";
    request.argv = {std::string("/bin/") + name, "privileges"};
    const auto ran = run_in(*slot, std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::ok) << name << describe(ran);
    EXPECT_EQ(ran.out, "1000 1000 1000 1000 1000 1000 0 0\n") << name;
  }
}

TEST_F(PrivilegeTest, NoCpuButItsOwn) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "missing host capability: a second CPU";
  LauncherConfig own = config();
  own.slots = 2;
  own.slot_cpus = {"1", "0"};
  auto launcher = Launcher::start(own);
  ASSERT_TRUE(launcher) << launcher.error().what;
  for (unsigned i = 0; i < own.slots; ++i) {
    auto slot = launcher->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    const auto ran = run_in(*slot, victim({"cpus"}));
    const std::string cpu = own.slot_cpus[slot->index()];
    EXPECT_TRUE(ran.out == "ok affinity 1 online 1 configured 1\n" + cpu + " ") << ran.out;
  }
}

}  // namespace
}  // namespace bailiff::sandbox::testing
