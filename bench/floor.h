#pragma once
// The floor: the fewest kernel calls that run a program in fresh user, PID, mount, network, IPC, UTS and cgroup namespaces, with a
// private /proc and /tmp, memory, pids and cpu groups (cgroup v1) and a reaping init. No seccomp, no output, no accounting. What a
// sandbox is measured against.
#include <string>

namespace bailiff::bench {

/// vfork, exec, wait of /bin/true. Aborts on failure, as all here do.
void run_bare();

/// One worker's place. Enters a small mount namespace of its own, so construct it in a process of its own.
class Floor {
 public:
  enum class Groups { fresh, born };  // fresh: made, attached and removed for each job; born: the worker lives in its groups
  Floor(unsigned worker, Groups groups);
  ~Floor();
  Floor(const Floor&) = delete;
  void run() const;

 private:
  void make_groups() const;
  void remove_groups() const;
  std::string name_;
  Groups groups_;
};

}  // namespace bailiff::bench
