#include "sandbox/cgroup_io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "sandbox/kernel_file.h"
#include "tests/sandbox/beside_step.h"
#include "tests/sandbox/disk.h"
#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox {
namespace {

namespace fs = std::filesystem;

TEST(CgroupIo, ReadsTheKernelsTexts) {
  const std::string v1 = "254:0 Read 4096\n254:0 Write 512\n254:0 Sync 4608\n254:0 Total 4608\n7:0 Read 10\n7:0 Write 20\nTotal 9246\n";
  EXPECT_EQ(parse_io_bytes(v1, false, {"254:0"}).read, 4096U);
  EXPECT_EQ(parse_io_bytes(v1, false, {"254:0", "7:0"}).read, 4106U);
  EXPECT_EQ(parse_io_bytes(v1, false, {"254:0", "7:0"}).written, 532U);
  EXPECT_EQ(parse_io_bytes(v1, false, {"4:0"}).read, 0U) << "the end of a number is another number";
  const std::string v2 = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2 rios=3 wios=4\n";
  EXPECT_EQ(parse_io_bytes(v2, true, {"8:16"}).read, 1459200U);
  EXPECT_EQ(parse_io_bytes(v2, true, {"8:16", "8:0"}).written, 314773506U);
  EXPECT_EQ(parse_io_bytes("", true, {"8:16"}).read, 0U);
}

TEST(CgroupIo, APartitionIsCappedOnItsDisk) {
  const fs::path root = fs::path(::testing::TempDir()) / ("bailiff-sys." + std::to_string(getpid()));
  fs::create_directories(root / "sys/devices/sda/sda1");
  fs::create_directories(root / "sys/dev/block");
  std::ofstream(root / "sys/devices/sda/dev") << "8:0\n";
  std::ofstream(root / "sys/devices/sda/sda1/dev") << "8:1\n";
  std::ofstream(root / "sys/devices/sda/sda1/partition") << "1\n";
  fs::create_directory_symlink("../../devices/sda/sda1", root / "sys/dev/block/8:1");
  fs::create_directory_symlink("../../devices/sda", root / "sys/dev/block/8:0");
  EXPECT_EQ(whole_disk(makedev(8, 1), root).value_or(""), "8:0");
  EXPECT_EQ(whole_disk(makedev(8, 0), root).value_or(""), "8:0");
  EXPECT_EQ(whole_disk(makedev(253, 7), root).value_or(""), "253:7");
  fs::remove_all(root);
}

TEST(CgroupIo, WhatCannotBeCappedIsRefused) {
  auto without_controller = IoControl::open("", false, {{"8:0"}, ""});
  ASSERT_TRUE(without_controller);
  EXPECT_FALSE(without_controller->counts());
  EXPECT_TRUE(without_controller->limit({}));
  const auto refused = without_controller->limit({1 << 20, 0, 0, 0});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, core::ErrorKind::invalid);
  auto unknown_disk = IoControl::open("", false, {{}, "it is on a network"});
  EXPECT_EQ(unknown_disk->limit({0, 0, 0, 1}).error().kind, core::ErrorKind::invalid);
  auto in_memory = IoControl::open("", false, {{}, ""});
  EXPECT_TRUE(in_memory->limit({1 << 20, 0, 0, 0})) << "what needs no disk keeps below every cap";
  EXPECT_FALSE(image_disks("/").unknown.empty()) << "/proc is a mount of no disk";
}

}  // namespace

namespace testing {
namespace {

using core::Verdict;

constexpr std::uint64_t kMiB = 1 << 20, kFileBytes = 8 * kMiB;

/// A launcher whose image is on a disk of its own: the victim and a file that is not in memory.
class IoTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    for (const auto& capability : probe_host())
      if (capability.name == "cgroup.blkio" && !capability.present) GTEST_SKIP() << "missing host capability: cgroup.blkio";
    auto disk = Disk::make();
    if (!disk && disk.error().kind == core::ErrorKind::unavailable) GTEST_SKIP() << "missing host capability: " << disk.error().what;
    ASSERT_TRUE(disk) << disk.error().what;
    disk_.emplace(std::move(*disk));
    fs::create_directory(disk_->path() + "/data");
    std::ofstream(disk_->path() + "/data/file", std::ios::binary) << std::string(kFileBytes, 'x');
    auto config = SandboxTest::config();
    config.slots = 1;
    config.images = {{"disk", Image::Kind::directory, disk_->path()}};
    auto launcher = Launcher::start(config);
    ASSERT_TRUE(launcher) << launcher.error().what;
    launcher_ = std::move(*launcher);
    auto slot = launcher_->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    slot_ = std::move(*slot);
  }
  void TearDown() override {
    slot_.reset();
    launcher_.reset();
    disk_.reset();
    SandboxTest::TearDown();
  }
  static StepRequest on_disk(std::vector<std::string> words) {
    auto request = victim(std::move(words));
    request.image = "disk";
    request.limits.cpu_time_us = 10'000'000;
    request.limits.wall_time_us = 60'000'000;
    return request;
  }
  Ran run_cold(StepRequest request) {
    disk_->forget("data/file");
    return StartedStep(*slot_, std::move(request)).finish();
  }

  std::optional<Disk> disk_;
  std::optional<Launcher> launcher_;
  std::optional<Slot> slot_;
};

TEST_F(IoTest, BytesOfTheDiskAreCounted) {
  const auto cold = run_cold(on_disk({"read_file", "/data/file"}));
  EXPECT_EQ(cold.verdict(), Verdict::ok) << describe(cold);
  EXPECT_GE(cold.evidence("io_read_bytes"), static_cast<std::int64_t>(kFileBytes));
  EXPECT_LT(cold.evidence("io_read_bytes"), static_cast<std::int64_t>(2 * kFileBytes));
  EXPECT_EQ(cold.evidence("io_write_bytes"), 0);
  for (int i = 0; i < 2; ++i) {  // in the other station, and in the first one again
    std::ifstream file(disk_->path() + "/data/file", std::ios::binary);
    ASSERT_EQ(std::string(std::istreambuf_iterator<char>(file), {}).size(), kFileBytes);
    const auto warm = StartedStep(*slot_, on_disk({"read_file", "/data/file"})).finish();
    EXPECT_EQ(warm.verdict(), Verdict::ok) << describe(warm);
    // What is in memory is not read; but pages that were charged to a station go when it gives its cache back.
    EXPECT_LE(warm.evidence("io_read_bytes"), cold.evidence("io_read_bytes"));
  }
}

TEST_F(IoTest, BytesPerSecondAreCapped) {
  auto request = on_disk({"read_file", "/data/file"});
  request.limits.io_read_bytes_per_s = 4 * kMiB;
  const auto ran = run_cold(std::move(request));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_GE(ran.outcome().usage.wall_us, 1'200'000U) << "2 s at this rate; the kernel lets a little through at once";
}

TEST_F(IoTest, OperationsPerSecondAreCapped) {
  auto request = on_disk({"read_blocks", "/data/file", "200"});
  request.limits.io_read_ops_per_s = 100;
  const auto ran = run_cold(std::move(request));
  EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
  EXPECT_GE(ran.outcome().usage.wall_us, 1'200'000U) << "2 s at this rate";
  EXPECT_GE(ran.evidence("io_read_bytes"), 200 * 4096);
}

TEST_F(IoTest, EveryCapIsSetOnTheDiskAndGoesWithTheStep) {
  auto request = on_disk({"sleep", "60000"});
  request.limits.io_read_bytes_per_s = 3 * kMiB;
  request.limits.io_write_bytes_per_s = 2 * kMiB;
  request.limits.io_read_ops_per_s = 300;
  request.limits.io_write_ops_per_s = 1ULL << 32;  // more than v1 can hold
  StartedStep step(*slot_, std::move(request));
  ASSERT_GT(step.program(), 0);
  const std::string group = step.group(&ControllerPaths::blkio), number = disk_->number();
  const auto text = [&](const char* file) { return read_kernel_file(group + file).value_or(""); };
  if (access((group + "/io.max").c_str(), F_OK) == 0) {
    EXPECT_EQ(text("/io.max").find(number + " rbps=3145728 wbps=2097152 riops=300 wiops="), 0U) << text("/io.max");
  } else {
    EXPECT_EQ(text("/blkio.throttle.read_bps_device"), number + " 3145728\n");
    EXPECT_EQ(text("/blkio.throttle.write_bps_device"), number + " 2097152\n");
    EXPECT_EQ(text("/blkio.throttle.read_iops_device"), number + " 300\n");
  }
  const auto before = text("/io.max") + text("/blkio.throttle.read_bps_device");
  ASSERT_TRUE(slot_->pause());
  ASSERT_TRUE(slot_->resume());
  EXPECT_TRUE(inspect(*slot_)) << "so that both have been done";
  EXPECT_EQ(text("/io.max") + text("/blkio.throttle.read_bps_device"), before) << "a pause does not lift them";
  ASSERT_TRUE(slot_->cancel());
  EXPECT_EQ(step.finish().verdict(), Verdict::cancelled);
  for (int i = 0; i < 2; ++i) {
    const auto ran = StartedStep(*slot_, on_disk({"exit", "0"})).finish();
    EXPECT_EQ(ran.verdict(), Verdict::ok) << describe(ran);
    EXPECT_EQ(text("/blkio.throttle.read_bps_device"), "");
  }
}

/// Until the program waits for the disk.
void await_read(const StartedStep& step) {
  const std::string file = "/proc/" + std::to_string(step.program()) + "/stat";
  for (int tries = 0; tries < 5000 && read_kernel_file(file).value_or(") D ").find(") D ") == std::string::npos; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(IoTest, ACappedProgramCanBeEnded) {
  auto request = on_disk({"read_at_once", "/data/file", "8"});
  request.limits.io_read_bytes_per_s = kMiB;
  StartedStep step(*slot_, std::move(request));
  ASSERT_GT(step.program(), 0);
  await_read(step);
  ASSERT_TRUE(slot_->cancel());
  const auto ran = step.finish();
  EXPECT_EQ(ran.verdict(), Verdict::cancelled) << describe(ran);
  EXPECT_LT(ran.outcome().usage.wall_us, 5'000'000U) << "the whole read takes 8 s";
  EXPECT_EQ(StartedStep(*slot_, on_disk({"exit", "0"})).finish().verdict(), Verdict::ok);
}

TEST_F(IoTest, ACappedProgramDiesWithItsSlot) {
  auto request = on_disk({"read_at_once", "/data/file", "8"});
  request.limits.io_read_bytes_per_s = kMiB;
  StartedStep step(*slot_, std::move(request));
  ASSERT_GT(step.program(), 0);
  await_read(step);
  ASSERT_EQ(kill(parent_of(parent_of(step.program())), SIGKILL), 0);
  EXPECT_FALSE(slot_->finish());
  auto replacement = launcher_->next_slot();
  ASSERT_TRUE(replacement) << replacement.error().what;
  slot_ = std::move(*replacement);
  EXPECT_TRUE(ends(step.program()));
  EXPECT_EQ(StartedStep(*slot_, on_disk({"exit", "0"})).finish().verdict(), Verdict::ok);
}

TEST_F(IoTest, AnImageWhoseDiskIsNotKnownCannotBeCapped) {
  const std::string overlay = disk_->path() + "/overlay", layer = disk_->path() + "/layer";
  fs::create_directory(overlay);
  fs::create_directories(layer + "/more");
  const std::string options = "lowerdir=" + layer + ":" + disk_->path() + "/data";
  if (mount("overlay", overlay.c_str(), "overlay", MS_RDONLY, options.c_str()) != 0) GTEST_SKIP() << "missing host capability: overlay";
  auto config = SandboxTest::config();
  config.slots = 1;
  config.images = {{"overlay", Image::Kind::directory, overlay}};
  {
    auto launcher = Launcher::start(config);
    ASSERT_TRUE(launcher) << launcher.error().what;
    auto slot = launcher->next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    auto request = on_disk({"exit", "0"});
    request.image = "overlay";
    EXPECT_EQ(StartedStep(*slot, std::move(request)).finish().verdict(), Verdict::ok);
    request = on_disk({"exit", "0"});
    request.image = "overlay";
    request.limits.io_read_bytes_per_s = kMiB;
    request.stdout_fd = std::move(*output_memfd());
    request.stderr_fd = std::move(*output_memfd());
    const auto report = slot->run(request);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, core::ErrorKind::invalid) << report.error().what;
    request = on_disk({"exit", "0"});
    request.image = "overlay";
    EXPECT_EQ(StartedStep(*slot, std::move(request)).finish().verdict(), Verdict::ok) << "it goes on with others";
  }
  EXPECT_EQ(umount2(overlay.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace testing
}  // namespace bailiff::sandbox
