#include "sandbox/cpu_account.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <span>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

void settle(pid_t thread) {
  const int policy = sched_getscheduler(thread);
  const sched_param priority{};
  // A thread of a real-time class is none of ours; such a class is refused to programs.
  if (policy < 0 || (policy & ~SCHED_RESET_ON_FORK) == SCHED_FIFO || (policy & ~SCHED_RESET_ON_FORK) == SCHED_RR) return;
  const bool is_batch = (policy & ~SCHED_RESET_ON_FORK) == SCHED_BATCH;
  (void)sched_setscheduler(thread, is_batch ? SCHED_OTHER : SCHED_BATCH, &priority);
  (void)sched_setscheduler(thread, policy, &priority);
}

}  // namespace

void settle_cpu_account(const std::string& threads_file) {
  const auto file = open_kernel_file(threads_file, O_RDONLY);
  if (!file) return;
  std::array<char, 4096> text;
  pid_t thread = 0;
  for (ssize_t n = 0; (n = read(file->get(), text.data(), text.size())) > 0;)
    for (const char c : std::span(text).first(static_cast<std::size_t>(n))) {
      if (c >= '0' && c <= '9') {
        thread = thread * 10 + (c - '0');
      } else {
        settle(thread);
        thread = 0;
      }
    }
}

}  // namespace bailiff::sandbox
