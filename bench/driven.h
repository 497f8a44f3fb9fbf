#pragma once
// A job that is run again and again by a process of its own, which may enter namespaces, groups and a set of CPUs for it.
#include <functional>

#include "core/fd.h"

namespace bailiff::bench {

/// `cpu` that pins nothing.
inline constexpr int kAnyCpu = -1;
/// This process and what it starts run on that CPU only. Gives up where that cannot be.
void pin_to(int cpu);

class Driven {
 public:
  /// `make` is called in the process and returns the job, whose end of scope is the end of the process.
  Driven(int cpu, const std::function<std::function<void()>()>& make);
  ~Driven();
  Driven(const Driven&) = delete;
  /// Runs the job once. Milliseconds, measured inside.
  [[nodiscard]] double run() const;

 private:
  int process_ = -1;
  core::Fd go_, done_;
};

}  // namespace bailiff::bench
