#pragma once
// A small disk of a test's own, with a file system that an image can be on: the one that BAILIFF_TEST_DISK names (in the guest), else a
// loop device.
#include <cstddef>
#include <string>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox::testing {

class Disk {
 public:
  /// Made, formatted and mounted. ErrorKind::unavailable: `what` names the capability that this host lacks.
  static core::Result<Disk> make();
  Disk(Disk&& other) noexcept;
  Disk& operator=(Disk&&) = delete;
  /// Unmounts it.
  ~Disk();
  [[nodiscard]] const std::string& path() const { return path_; }      // where it is mounted
  [[nodiscard]] const std::string& number() const { return number_; }  // "major:minor"
  /// Nothing of the file stays in memory: who reads it reads the disk.
  void forget(const std::string& file) const;

 private:
  Disk() = default;
  std::string path_, number_;
  core::Fd device_;
};

}  // namespace bailiff::sandbox::testing
