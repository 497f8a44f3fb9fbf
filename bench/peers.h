#pragma once
// Other sandboxes, as Debian packages them (`script/bootstrap bench`), each set up for the isolation nearest to ours: fresh namespaces, a
// read-only /usr of the host, /proc, /dev and /tmp of its own, and, for the container runtimes, limits by cgroup.
#include <functional>
#include <string>
#include <vector>

namespace bailiff::bench {

struct Peer {
  std::string name;
  double share;  // of the other subjects' steps, for it is slow
  /// The job of one worker: /bin/true, run to its end.
  std::function<std::function<void()>(unsigned worker)> make;
};

/// The peers of this machine, each tried once. Owns the directory of the container runtimes' bundles; the jobs need it.
class Peers {
 public:
  Peers();
  ~Peers();
  Peers(const Peers&) = delete;
  [[nodiscard]] const std::vector<Peer>& usable() const { return usable_; }
  /// "runc (not installed)", …: what is left out of a comparison, and why.
  [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }

 private:
  void add_command(const std::string& program, double share, std::vector<std::string> arguments);
  void add_runtime(const std::string& program, double share);

  std::string directory_;
  std::vector<Peer> usable_;
  std::vector<std::string> left_out_;
};

}  // namespace bailiff::bench
