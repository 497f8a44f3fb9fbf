#include "tests/sandbox/disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace bailiff::sandbox::testing {
namespace {

constexpr off_t kDiskBytes = 32 << 20;

std::unexpected<core::Error> lacks(const char* what) { return core::error(core::ErrorKind::unavailable, what); }

/// Frees itself when the last user has closed it.
core::Result<std::pair<core::Fd, std::string>> make_loop_device() {
  const core::Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return lacks("loop devices");
  const std::string file = std::filesystem::temp_directory_path() / ("bailiff-disk." + std::to_string(getpid()));
  const core::Fd backing(open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  (void)unlink(file.c_str());
  if (!backing.valid() || ftruncate(backing.get(), kDiskBytes) != 0) return core::errno_error("make " + file);
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(backing.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  for (int tries = 0; tries < 20; ++tries) {  // somebody else may take the same free one
    const std::string path = "/dev/loop" + std::to_string(ioctl(control.get(), LOOP_CTL_GET_FREE));
    core::Fd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (device.valid() && ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return std::pair(std::move(device), path);
  }
  return lacks("loop devices");
}

core::Status format(const std::string& device) {
  char* const argv[] = {const_cast<char*>("mke2fs"), const_cast<char*>("-F"), const_cast<char*>(device.c_str()), nullptr};
  char* const env[] = {const_cast<char*>("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nullptr};
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  for (const int fd : {1, 2}) posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  int status = 0;
  for (const char* program : {"/usr/sbin/mke2fs", "/usr/bin/mke2fs"})
    if (pid < 0 && posix_spawn(&pid, program, &quiet, nullptr, argv, env) != 0) pid = -1;
  posix_spawn_file_actions_destroy(&quiet);
  if (pid < 0) return lacks("mke2fs");
  if (waitpid(pid, &status, 0) != pid || status != 0) return core::error(core::ErrorKind::internal, "mke2fs failed on " + device);
  return {};
}

}  // namespace

core::Result<Disk> Disk::make() {
  Disk disk;
  const char* given = std::getenv("BAILIFF_TEST_DISK");
  std::string device = given != nullptr ? given : "";
  if (device.empty()) {
    auto loop = make_loop_device();
    if (!loop) return std::unexpected(loop.error());
    disk.device_ = std::move(loop->first);
    device = loop->second;
  }
  if (auto formatted = format(device); !formatted) return std::unexpected(formatted.error());
  std::string path = "/mnt/bailiff-disk.XXXXXX";  // the launcher has a /tmp of its own
  if (mkdtemp(path.data()) == nullptr) return core::errno_error("mkdtemp");
  if (mount(device.c_str(), path.c_str(), "ext4", 0, nullptr) != 0) {
    (void)rmdir(path.c_str());
    return lacks("ext4");
  }
  disk.path_ = path;
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return core::errno_error("stat " + path);
  disk.number_ = std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev));
  return disk;
}

Disk::Disk(Disk&& other) noexcept
    : path_(std::exchange(other.path_, "")), number_(std::move(other.number_)), device_(std::move(other.device_)) {}

Disk::~Disk() {
  if (path_.empty()) return;
  (void)umount2(path_.c_str(), MNT_DETACH);
  (void)rmdir(path_.c_str());
}

void Disk::forget(const std::string& file) const {
  const core::Fd fd(open((path_ + "/" + file).c_str(), O_RDONLY | O_CLOEXEC));
  (void)fsync(fd.get());
  (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace bailiff::sandbox::testing
