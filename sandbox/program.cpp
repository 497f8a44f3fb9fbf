#include "sandbox/program.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/message.h"
#include "sandbox/socket.h"
#include "sandbox/unpack.h"

namespace bailiff::sandbox {
namespace {

class Program {
 public:
  explicit Program(const ParkedProgram& parked) : parked_(parked) {}

  [[noreturn]] void run() {
    park();
    const std::uint64_t idle_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    auto message = receive_message(parked_.control);
    if (!message) fail(InitStep::receive, message.error().sys_errno);
    if (message->bytes.empty()) _exit(0);  // never used
    take_request(*message);
    unpack();
    if (request_.input != StepInput::given) open_input();
    if (const int fault = set_rlimits(step_rlimits(request_.limits)); fault != 0) fail(InitStep::rlimits, fault);
    if (const auto& cwd = request_.cwd; chdir(("/work/" + cwd).c_str()) != 0)
      stop({InitReport::Kind::exec_failed, InitStep::working_directory, errno, 0, 0, 0});
    const CommandLine command(request_.argv, request_.env);
    // Everything but 0-2 goes at exec.
    expect(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, InitStep::stdio);
    send({InitReport::Kind::executing, InitStep::none, 0, 0, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - idle_cpu_ns, clock_ns(CLOCK_MONOTONIC)});
    stop({InitReport::Kind::exec_failed, InitStep::none, command.execute(), 0, 0, 0});
  }

 private:
  void park() {
    expect(setsid() >= 0, InitStep::session);
    // stdin is /dev/null until "go".
    expect(dup2(parked_.stdout_pipe, 1) == 1 && dup2(parked_.stderr_pipe, 2) == 2, InitStep::stdio);
    if (const int fault = set_rlimits(fixed_rlimits()); fault != 0) fail(InitStep::rlimits, fault);
    if (const int fault = take_program_ids(); fault != 0) fail(InitStep::program_ids, fault);
    umask(022);
    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, InitStep::no_new_privs);
    if (const int fault = install_seccomp_filter(*parked_.filter); fault != 0) fail(InitStep::seccomp, fault);
    send({InitReport::Kind::prepared, InitStep::none, 0, 0, 0, parked_.clock_offset_ns});
  }

  void send(const InitReport& report) const { (void)!write(parked_.control, &report, sizeof report); }
  [[noreturn]] void stop(const InitReport& report) {
    send(report);
    _exit(127);
  }
  [[noreturn]] void fail(InitStep step, int error) { stop({InitReport::Kind::failed, step, error, 0, 0, 0}); }
  void expect(bool done, InitStep step) {
    if (!done) fail(step, errno);
  }

  void take_request(Message& message) {
    const std::string_view bytes = message.bytes;
    std::size_t used_fds = 0;
    const auto next_fd = [&]() -> core::Fd& {
      if (used_fds == message.fds.size()) fail(InitStep::receive, EPROTO);
      return message.fds[used_fds++];
    };
    if (bytes.size() < kGoHeaderBytes) fail(InitStep::receive, EPROTO);
    const bool is_inline = bytes[0] == kInlineRequest;
    auto outside = is_inline ? core::Result<std::string>("") : read_all(next_fd().get());
    auto request = outside ? decode_request(is_inline ? bytes.substr(kGoHeaderBytes) : *outside) : std::unexpected(outside.error());
    if (!request) fail(InitStep::request, EPROTO);
    request_ = std::move(*request);
    if (bytes[1] != 0) open_stdin(next_fd().get());
    while (used_fds < message.fds.size()) request_.trees.push_back(std::move(next_fd()));
  }

  /// A description of its own, read-only, at offset 0: several programs may read the same bytes.
  void open_stdin(int memfd) {
    const core::Fd own(open(("/proc/self/fd/" + std::to_string(memfd)).c_str(), O_RDONLY | O_CLOEXEC));
    expect(own.valid() && dup2(own.get(), 0) == 0, InitStep::stdio);
  }

  /// Made here, so that it belongs to the program: `cat /dev/stdin` opens it again. The slot gets the other end.
  void open_input() {
    core::Fd ours, theirs;
    if (request_.input == StepInput::terminal) {
      auto terminal = open_terminal({24, 80, 0, 0});
      if (!terminal) fail(InitStep::stdio, terminal.error().sys_errno);
      ours = std::move(terminal->ours);
      theirs = std::move(terminal->master);
      expect(dup2(ours.get(), 1) == 1 && dup2(ours.get(), 2) == 2 && ioctl(ours.get(), TIOCSCTTY, 0) == 0, InitStep::stdio);
    } else {
      int ends[2];
      expect(pipe2(ends, O_CLOEXEC) == 0, InitStep::stdio);
      ours = core::Fd(ends[0]);
      theirs = core::Fd(ends[1]);
    }
    expect(dup2(ours.get(), 0) == 0, InitStep::stdio);
    const InitReport report{InitReport::Kind::input, InitStep::none, 0, 0, 0, 0};
    const std::string_view bytes(reinterpret_cast<const char*>(&report), sizeof report);
    std::vector<int> fds = {theirs.get()};
    if (request_.input == StepInput::terminal) fds.push_back(ours.get());
    if (const auto sent = send_message(parked_.control, bytes, fds); !sent) fail(InitStep::stdio, sent.error().sys_errno);
  }

  void unpack() {
    if (request_.trees.empty()) return;
    const core::Fd root(open("/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    expect(root.valid(), InitStep::unpack);
    for (const auto& fd : request_.trees) {
      const auto tree = TreeReader::open(fd.get());
      if (!tree) fail(InitStep::unpack, EPROTO);
      const int fault = unpack_tree(root.get(), *tree);
      if (fault == ENOSPC || fault == EFBIG) stop({InitReport::Kind::no_space, InitStep::unpack, fault, 0, 0, 0});
      if (fault != 0) fail(InitStep::unpack, fault);
    }
    request_.trees.clear();
  }

  const ParkedProgram& parked_;
  StepRequest request_;
};

}  // namespace

RlimitList fixed_rlimits() {
  constexpr std::uint64_t kNoCore = 1;  // less than any core; 0 would still run the host's handler where core_pattern is a pipe
  constexpr std::uint64_t kLockedBytes = 8 << 20, kPendingSignals = 1024, kMessageQueueBytes = 819'200;
  return {{RLIMIT_CORE, kNoCore},
          {RLIMIT_MEMLOCK, kLockedBytes},
          {RLIMIT_SIGPENDING, kPendingSignals},
          {RLIMIT_MSGQUEUE, kMessageQueueBytes},
          {RLIMIT_NICE, 0},
          {RLIMIT_RTPRIO, 0}};
}

RlimitList step_rlimits(const core::Limits& limits) {
  return {{RLIMIT_STACK, limits.stack_bytes}, {RLIMIT_FSIZE, limits.file_bytes}, {RLIMIT_NOFILE, limits.open_files}};
}

int set_rlimits(const RlimitList& limits) {
  for (const auto& [resource, value] : limits) {
    rlimit now{};
    if (getrlimit(static_cast<__rlimit_resource>(resource), &now) != 0) return errno;
    // Raising a hard limit would need a capability over the host; what the host gives us is then the limit.
    const rlim_t hard = std::min<rlim_t>(value, now.rlim_max);
    const rlimit limit{hard, hard};
    if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return errno;
  }
  return 0;
}

int take_program_ids() noexcept {
  // From root inside to an ordinary user: the kernel clears the permitted, effective and ambient sets.
  if (setresgid(kProgramId, kProgramId, kProgramId) != 0 || setresuid(kProgramId, kProgramId, kProgramId) != 0) return errno;
  return geteuid() == kProgramId && getegid() == kProgramId && setuid(0) != 0 ? 0 : EPERM;
}

core::Result<Terminal> open_terminal(const winsize& size) {
  Terminal made;
  made.master = core::Fd(open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!made.master.valid()) return core::errno_error("open a terminal");  // ENOSPC: the program has used up its terminals
  int unlock = 0;
  if (ioctl(made.master.get(), TIOCSPTLCK, &unlock) != 0) return core::errno_error("unlock the terminal");
  // Not by its path, which is the program's to look up.
  made.ours = core::Fd(ioctl(made.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!made.ours.valid()) return core::errno_error("open the terminal's other end");
  if (ioctl(made.master.get(), TIOCSWINSZ, &size) != 0) return core::errno_error("size of the terminal");
  return made;
}

CommandLine::CommandLine(const std::vector<std::string>& argv, const std::vector<std::string>& env) {
  for (const auto& word : argv) argv_.push_back(const_cast<char*>(word.c_str()));
  for (const auto& variable : env) {
    envp_.push_back(const_cast<char*>(variable.c_str()));
    if (variable.starts_with("PATH=")) path_ = std::string_view(variable).substr(5);
  }
  argv_.push_back(nullptr);
  envp_.push_back(nullptr);
}

int CommandLine::execute() const {
  const std::string_view file = argv_.front();
  if (file.contains('/')) {
    execve(argv_.front(), argv_.data(), envp_.data());
    return errno;
  }
  int fault = ENOENT;
  for (std::string_view rest = path_; !rest.empty();) {
    const auto directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
    if (directory.empty()) continue;
    execve((std::string(directory) + "/" + argv_.front()).c_str(), argv_.data(), envp_.data());
    if (errno != ENOENT && errno != ENOTDIR) fault = errno;
  }
  return fault;
}

void become_program(const ParkedProgram& parked) { Program(parked).run(); }

}  // namespace bailiff::sandbox
