#include "sandbox/program.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bailiff::sandbox {
namespace {

class Child {
 public:
  Child(const StepRequest& request, const ProgramFds& fds, const SeccompFilter& filter) : request_(request), fds_(fds), filter_(filter) {}

  [[noreturn]] void run() {
    expect(setsid() >= 0, InitStep::session);
    set_stdio();
    for (const auto& [resource, value] : step_rlimits(request_.limits)) set_rlimit(resource, value);
    drop_ids();
    umask(022);
    const std::string directory = "/work/" + request_.cwd;
    if (chdir(directory.c_str()) != 0) stop({InitReport::Kind::exec_failed, InitStep::working_directory, errno, 0, 0, 0});
    prepare_strings();
    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, InitStep::no_new_privs);
    if (const int fault = install_seccomp_filter(filter_); fault != 0) stop({InitReport::Kind::failed, InitStep::seccomp, fault, 0, 0, 0});
    send({InitReport::Kind::executing, InitStep::none, 0, 0, clock_ns(CLOCK_PROCESS_CPUTIME_ID), clock_ns(CLOCK_MONOTONIC)});
    stop({InitReport::Kind::exec_failed, InitStep::none, exec(), 0, 0, 0});
  }

 private:
  void send(const InitReport& report) { (void)!write(fds_.control, &report, sizeof report); }
  [[noreturn]] void stop(const InitReport& report) {
    send(report);
    _exit(127);
  }
  void expect(bool done, InitStep step) {
    if (!done) stop({InitReport::Kind::failed, step, errno, 0, 0, 0});
  }

  void set_stdio() {
    const int from[] = {fds_.stdin_fd, fds_.stdout_fd, fds_.stderr_fd};
    for (int target = 0; target < 3; ++target) expect(dup2(from[target], target) == target, InitStep::stdio);
    // Everything else goes at exec; until then the control socket is needed.
    expect(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, InitStep::stdio);
  }

  void set_rlimit(int resource, std::uint64_t value) {
    rlimit now{};
    expect(getrlimit(static_cast<__rlimit_resource>(resource), &now) == 0, InitStep::rlimits);
    // Raising a hard limit would need a capability over the host; what the host gives us is then the limit.
    const rlim_t hard = std::min<rlim_t>(value, now.rlim_max);
    const rlimit limit{hard, hard};
    expect(setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0, InitStep::rlimits);
  }

  void drop_ids() {
    // From root inside to an ordinary user: the kernel clears the permitted, effective and ambient sets; the bounding set is empty already.
    expect(setresgid(kProgramId, kProgramId, kProgramId) == 0, InitStep::ids);
    expect(setresuid(kProgramId, kProgramId, kProgramId) == 0, InitStep::ids);
    expect(geteuid() == kProgramId && getegid() == kProgramId && setuid(0) != 0, InitStep::ids);
  }

  void prepare_strings() {
    for (const auto& word : request_.argv) argv_.push_back(const_cast<char*>(word.c_str()));
    for (const auto& variable : request_.env) {
      envp_.push_back(const_cast<char*>(variable.c_str()));
      if (variable.starts_with("PATH=")) path_ = std::string_view(variable).substr(5);
    }
    argv_.push_back(nullptr);
    envp_.push_back(nullptr);
  }

  /// execvp with the step's own PATH. The errno of the failure.
  int exec() {
    const std::string& file = request_.argv.front();
    if (file.contains('/')) {
      execve(file.c_str(), argv_.data(), envp_.data());
      return errno;
    }
    int fault = ENOENT;
    for (std::string_view rest = path_; !rest.empty();) {
      const auto directory = rest.substr(0, rest.find(':'));
      rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
      if (directory.empty()) continue;
      execve((std::string(directory) + "/" + file).c_str(), argv_.data(), envp_.data());
      if (errno != ENOENT && errno != ENOTDIR) fault = errno;
    }
    return fault;
  }

  const StepRequest& request_;
  ProgramFds fds_;
  const SeccompFilter& filter_;
  std::vector<char*> argv_, envp_;
  std::string_view path_ = "/usr/local/bin:/usr/bin:/bin";
};

}  // namespace

std::vector<std::pair<int, std::uint64_t>> step_rlimits(const core::Limits& limits) {
  constexpr std::uint64_t kLockedBytes = 8 << 20, kPendingSignals = 1024, kMessageQueueBytes = 819'200;
  return {{RLIMIT_STACK, limits.stack_bytes},
          {RLIMIT_FSIZE, limits.file_bytes},
          {RLIMIT_NOFILE, limits.open_files},
          {RLIMIT_CORE, 0},
          {RLIMIT_MEMLOCK, kLockedBytes},
          {RLIMIT_SIGPENDING, kPendingSignals},
          {RLIMIT_MSGQUEUE, kMessageQueueBytes},
          {RLIMIT_NICE, 0},
          {RLIMIT_RTPRIO, 0}};
}

void become_program(const StepRequest& request, const ProgramFds& fds, const SeccompFilter& filter) { Child(request, fds, filter).run(); }

}  // namespace bailiff::sandbox
