#include "sandbox/erofs_mount.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "core/fd.h"

namespace bailiff::sandbox {
namespace {

constexpr unsigned long kFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME;
constexpr int kLoopTries = 20;  // somebody else may take the free device between the question and the use

core::Status mount_loop(int file, const std::string& directory) {
  const core::Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return core::errno_error("open /dev/loop-control");
  for (int tries = 0; tries < kLoopTries; ++tries) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return core::errno_error("find a free loop device");
    const std::string device = "/dev/loop" + std::to_string(number);
    const core::Fd loop(open(device.c_str(), O_RDONLY | O_CLOEXEC));
    if (!loop.valid()) return core::errno_error("open " + device);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(file);
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (ioctl(loop.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return core::errno_error("configure " + device);
    }
    if (mount(device.c_str(), directory.c_str(), "erofs", kFlags, nullptr) != 0) return core::errno_error("mount EROFS from " + device);
    return {};
  }
  return core::error(core::ErrorKind::internal, "every free loop device is taken by somebody else first");
}

}  // namespace

core::Status mount_erofs(int file, const std::string& directory, ErofsBacking backing) {
  if (backing == ErofsBacking::loop) return mount_loop(file, directory);
  const std::string source = "/proc/self/fd/" + std::to_string(file);
  if (mount(source.c_str(), directory.c_str(), "erofs", kFlags, nullptr) == 0) return {};
  if (errno == ENOTBLK) return mount_loop(file, directory);
  if (errno == ENODEV)
    return core::error(core::ErrorKind::unavailable,
                       "this kernel has no EROFS (CONFIG_EROFS_FS): `bailiff image unpack` makes the image usable without");
  return core::errno_error("mount EROFS");
}

}  // namespace bailiff::sandbox
