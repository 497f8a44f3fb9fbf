#include "sandbox/cgroup_members.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

/// Empty where the file cannot be read.
std::vector<pid_t> ids_in(const std::string& path) {
  std::vector<pid_t> ids;
  const auto file = open_kernel_file(path, O_RDONLY);  // anew: v1 tells an open file's reader what it was when it was opened
  if (!file) return ids;
  std::array<char, 4096> text;
  pid_t id = 0;
  for (ssize_t n = 0; (n = read(file->get(), text.data(), text.size())) > 0;)
    for (const char c : std::span(text).first(static_cast<std::size_t>(n))) {
      if (c == '\n') ids.push_back(std::exchange(id, 0));
      else id = id * 10 + (c - '0');
    }
  return ids;
}

}  // namespace

void settle_cpu_account(const std::string& threads_file) {
  constexpr sched_param kNoPriority{};
  for (const pid_t thread : ids_in(threads_file)) {
    const int policy = sched_getscheduler(thread);
    const int kind = policy & ~SCHED_RESET_ON_FORK;
    if (policy < 0 || kind == SCHED_FIFO || kind == SCHED_RR) continue;  // gone; and a program has no real-time class
    (void)sched_setscheduler(thread, kind == SCHED_BATCH ? SCHED_OTHER : SCHED_BATCH, &kNoPriority);
    (void)sched_setscheduler(thread, policy, &kNoPriority);
  }
}

void kill_members(const std::string& processes_file, const std::vector<pid_t>& spared) {
  std::vector<std::pair<pid_t, core::Fd>> found;
  for (const pid_t process : ids_in(processes_file))
    if (std::find(spared.begin(), spared.end(), process) == spared.end())
      found.emplace_back(process, core::Fd(static_cast<int>(syscall(SYS_pidfd_open, process, 0))));
  // Whoever got the id of a member that died before its pidfd was made is not in the second list, or is dead itself.
  const auto members = ids_in(processes_file);
  for (const auto& [process, pidfd] : found)
    if (pidfd.valid() && std::find(members.begin(), members.end(), process) != members.end())
      (void)syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

}  // namespace bailiff::sandbox
