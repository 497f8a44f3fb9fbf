#pragma once
// Block I/O of a group: caps on the disks that a program can reach, and bytes counted. What it can reach is the files of its image (all it
// can write to is memory), so the disks are those that hold them.
//  v1: blkio.throttle.*; the group stays, so what is set stays. v2: io.max and io.stat of the step's group.
// A cap delays an I/O that is under way even when the process that waits for it has been killed, so caps are lifted for a death.
// Sources: Documentation/admin-guide/cgroup-v1/blkio-controller.rst, cgroup-v2.rst ("IO").
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

/// For each second, on each disk; 0: none.
struct IoCaps {
  std::uint64_t read_bytes = 0, write_bytes = 0, read_ops = 0, write_ops = 0;
  bool operator==(const IoCaps&) const = default;
};

struct IoBytes {
  std::uint64_t read = 0, written = 0;
};

/// The disks under an image.
struct ImageDisks {
  std::vector<std::string> numbers;  // "major:minor" of whole disks; empty: all of it is in memory
  std::string unknown;               // why some of them cannot be told, and so not capped; empty: all are known
};
/// "major:minor" of the whole disk that a block device is (a part of). `root`: in front of /sys, for tests.
core::Result<std::string> whole_disk(dev_t device, const std::string& root = "");
/// Of an image root as built by build_image_root.
ImageDisks image_disks(const std::string& image_root);

/// The I/O of one group.
class IoControl {
 public:
  /// `group` is one of the v1 blkio hierarchy, or of v2. Without the controller (no hierarchy, not delegated): nothing is counted, and caps
  /// are refused.
  static core::Result<IoControl> open(const std::string& group, bool unified, const ImageDisks& disks);
  /// ErrorKind::invalid: these caps cannot be had for this image on this host.
  core::Status limit(const IoCaps& caps);
  [[nodiscard]] bool counts() const { return stat_.valid(); }
  /// Since the group was made. Only where it counts().
  core::Result<IoBytes> used() const;

 private:
  std::string group_;
  bool unified_ = false;
  ImageDisks disks_;
  IoCaps caps_;
  core::Fd stat_;
};

/// Lifts the caps of a group, v1 or v2, whose slot is dead.
void lift_left_caps(const std::string& group);

/// Bytes of these disks in the text of blkio.throttle.io_service_bytes_recursive (v1) or io.stat (v2). Pure.
IoBytes parse_io_bytes(std::string_view text, bool unified, const std::vector<std::string>& disks);

}  // namespace bailiff::sandbox
