#include "sandbox/cgroup_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

struct Cap {
  const char* v1_file;
  const char* v2_key;
  std::uint64_t IoCaps::* value;
  std::uint64_t v1_most;  // what is above it would lose its high bits in the kernel
};
constexpr std::array<Cap, 4> kCaps = {{{"/blkio.throttle.read_bps_device", "rbps", &IoCaps::read_bytes, UINT64_MAX},
                                       {"/blkio.throttle.write_bps_device", "wbps", &IoCaps::write_bytes, UINT64_MAX},
                                       {"/blkio.throttle.read_iops_device", "riops", &IoCaps::read_ops, UINT32_MAX},
                                       {"/blkio.throttle.write_iops_device", "wiops", &IoCaps::write_ops, UINT32_MAX}}};

std::string v2_caps(const std::string& disk, const IoCaps& caps) {
  std::string line = disk;
  for (const auto& cap : kCaps) {
    const std::uint64_t value = caps.*cap.value;
    line += std::string(" ") + cap.v2_key + "=" + (value == 0 ? "max" : std::to_string(value));
  }
  return line;
}

/// 0 where the key is not there.
std::uint64_t number_after(std::string_view line, std::string_view key) {
  std::uint64_t number = 0;
  if (const auto at = line.find(key); at != line.npos) std::from_chars(line.data() + at + key.size(), line.data() + line.size(), number);
  return number;
}

/// Adds what holds the file `path`, of device `device`.
void add_disk(const std::string& path, dev_t device, ImageDisks& disks) {
  struct statfs system{};
  if (statfs(path.c_str(), &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC)) return;
  if (major(device) == 0) {
    disks.unknown = path + " is on a file system that does not tell its disk (overlay, btrfs, network …)";
    return;
  }
  const auto disk = whole_disk(device);
  if (!disk) disks.unknown = disk.error().what;
  else if (std::find(disks.numbers.begin(), disks.numbers.end(), *disk) == disks.numbers.end()) disks.numbers.push_back(*disk);
}

}  // namespace

core::Result<std::string> whole_disk(dev_t device, const std::string& root) {
  const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  const std::string directory = root + "/sys/dev/block/" + number;
  if (access((directory + "/partition").c_str(), F_OK) != 0) return number;
  auto disk = read_kernel_file(directory + "/../dev");
  if (!disk) return disk;
  return disk->substr(0, disk->find('\n'));
}

ImageDisks image_disks(const std::string& image_root) {
  ImageDisks disks;
  struct stat own{}, info{};
  if (stat(image_root.c_str(), &own) != 0) return {{}, "cannot look at " + image_root};
  std::error_code fault;
  for (const auto& entry : std::filesystem::directory_iterator(image_root, fault))
    if (lstat(entry.path().c_str(), &info) == 0 && info.st_dev != own.st_dev) add_disk(entry.path(), info.st_dev, disks);
  if (fault) disks.unknown = "cannot list " + image_root;
  return disks;
}

core::Result<IoControl> IoControl::open(const std::string& group, bool unified, const ImageDisks& disks) {
  IoControl io;
  io.group_ = group;
  io.unified_ = unified;
  io.disks_ = disks;
  if (group.empty() || disks.numbers.empty()) return io;
  auto stat = open_kernel_file(group + (unified ? "/io.stat" : "/blkio.throttle.io_service_bytes_recursive"), O_RDONLY);
  if (!stat && stat.error().sys_errno == ENOENT) return io;  // not delegated, or without CONFIG_BLK_DEV_THROTTLING
  if (!stat) return std::unexpected(stat.error());
  io.stat_ = std::move(*stat);
  // Since Linux 6.10 v1 counts the bytes of a disk only from its first rule on; one without a limit will do.
  if (!unified)
    for (const auto& disk : disks.numbers)
      if (auto set = write_kernel_file(group + kCaps.front().v1_file, disk + " 0"); !set) return std::unexpected(set.error());
  return io;
}

core::Status IoControl::limit(const IoCaps& caps) {
  if (caps == caps_) return {};
  const auto refuse = [](const std::string& why) { return core::error(core::ErrorKind::invalid, "I/O cannot be capped: " + why); };
  if (!disks_.unknown.empty()) return refuse(disks_.unknown);
  if (!counts() && !disks_.numbers.empty()) return refuse("this host has no blkio (v1) or io (v2) controller for us");
  caps_ = caps;
  for (const auto& disk : disks_.numbers) {
    if (unified_) {
      if (auto set = write_kernel_file(group_ + "/io.max", v2_caps(disk, caps)); !set) return set;
      continue;
    }
    for (const auto& cap : kCaps) {
      const std::uint64_t value = std::min(caps.*cap.value, cap.v1_most);
      if (auto set = write_kernel_file(group_ + cap.v1_file, disk + " " + std::to_string(value)); !set) return set;
    }
  }
  return {};
}

core::Result<IoBytes> IoControl::used() const {
  const auto text = read_kernel_file(stat_.get());
  if (!text) return std::unexpected(text.error());
  return parse_io_bytes(*text, unified_, disks_.numbers);
}

void lift_left_caps(const std::string& group) {
  const auto each_disk = [&](const char* file, const auto& no_cap) {
    std::istringstream lines(read_kernel_file(group + file).value_or(""));
    for (std::string line; std::getline(lines, line);) (void)write_kernel_file(group + file, no_cap(line.substr(0, line.find(' '))));
  };
  each_disk("/io.max", [](const std::string& disk) { return v2_caps(disk, {}); });
  for (const auto& cap : kCaps) each_disk(cap.v1_file, [](const std::string& disk) { return disk + " 0"; });
}

IoBytes parse_io_bytes(std::string_view text, bool unified, const std::vector<std::string>& disks) {
  // v1: "254:0 Read 4096", a line for each kind. v2: "254:0 rbytes=4096 wbytes=0 rios=1 …", one for each disk.
  const std::string_view read_key = unified ? " rbytes=" : " Read ", written_key = unified ? " wbytes=" : " Write ";
  IoBytes bytes;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto disk = line.substr(0, line.find(' '));
    if (std::find(disks.begin(), disks.end(), disk) == disks.end()) continue;
    bytes.read += number_after(line, read_key);
    bytes.written += number_after(line, written_key);
  }
  return bytes;
}

}  // namespace bailiff::sandbox
