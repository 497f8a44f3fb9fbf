#pragma once
// mmdebstrap as a child that cannot leave anything behind. It works in a mount and a PID namespace of its own and in a directory of ours:
// when it
// ends, in whatever way, or when we do, its processes and mounts are gone; the directory is removed by us, or, if we were killed, by the
// next build.
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::images {

/// Where builds have their files; on a disk, unlike what /tmp often is.
inline constexpr const char* kBuildParent = "/var/tmp";

class Mmdebstrap {
 public:
  /// Runs it with these arguments, its standard output going to `output`. unavailable: it is not installed.
  static core::Result<Mmdebstrap> start(const std::vector<std::string>& arguments, int output);
  Mmdebstrap(Mmdebstrap&& other) noexcept;
  Mmdebstrap& operator=(Mmdebstrap&&) = delete;
  ~Mmdebstrap();

  /// Calls `take` with each line that it says, until it has said all. unavailable: it took longer, or `cancel` (a descriptor, or -1)
  /// became readable.
  core::Status follow(std::chrono::seconds at_most, int cancel, const std::function<void(const std::string& line)>& take);
  /// Its wait status.
  int wait();

 private:
  Mmdebstrap() = default;
  core::Status make_directory();
  core::Status spawn(const std::vector<std::string>& arguments, int output);
  core::Fd said_;
  core::Fd lock_;  // on the directory: who cannot get it leaves the directory alone
  std::string directory_;
  pid_t pid_ = -1;
};

}  // namespace bailiff::images
