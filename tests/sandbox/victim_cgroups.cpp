#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/sandbox/victims.h"

namespace {

void tell(const char* name, bool works) { std::printf("%s: %s\n", name, works ? "ok" : strerrorname_np(errno)); }

/// Each device does what it is there for.
int use_devices() {
  char bytes[8] = "aaaaaaa";
  const auto opened = [](const char* name) { return open((std::string("/dev/") + name).c_str(), O_RDWR | O_CLOEXEC); };
  tell("null", write(opened("null"), bytes, 1) == 1 && read(opened("null"), bytes, 1) == 0);
  tell("zero", read(opened("zero"), bytes, sizeof bytes) == sizeof bytes && std::memcmp(bytes, "\0\0\0\0\0\0\0", sizeof bytes) == 0);
  tell("full", write(opened("full"), bytes, 1) < 0 && errno == ENOSPC);
  tell("random", read(opened("random"), bytes, sizeof bytes) == sizeof bytes);
  tell("urandom", read(opened("urandom"), bytes, sizeof bytes) == sizeof bytes);
  const int terminal_maker = posix_openpt(O_RDWR | O_CLOEXEC);  // no O_NOCTTY: what it makes becomes the terminal of this session
  tell("ptmx", terminal_maker >= 0 && unlockpt(terminal_maker) == 0);
  const char* terminal = ptsname(terminal_maker);
  tell("pts", terminal != nullptr && open(terminal, O_RDWR | O_CLOEXEC) >= 0);
  tell("tty", opened("tty") >= 0);
  return 0;
}

/// A process and its children and theirs, all busy.
[[noreturn]] void fork_tree() {
  for (int level = 0; level < 3; ++level) (void)!fork();
  while (true) asm volatile("");
}

}  // namespace

const Victims& cgroup_victims() {
  static const Victims victims = {
      {"fork_tree", [](const Arguments&) -> int { fork_tree(); }},
      {"use_devices", [](const Arguments&) { return use_devices(); }},
  };
  return victims;
}
