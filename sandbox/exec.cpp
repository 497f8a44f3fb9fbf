#include "sandbox/exec.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "sandbox/descriptors.h"
#include "sandbox/exec_message.h"
#include "sandbox/init.h"
#include "sandbox/kernel_file.h"
#include "sandbox/program.h"
#include "sandbox/socket.h"
#include "sandbox/spawner.h"
#include "sandbox/wire.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kEnterTime(20);
constexpr const char* kOomScore = "1000";
// The PID namespace is for the children of the one who joins. Time comes by itself, for init has made it and does not live in it.
constexpr int kNamespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

/// entrant → attendant: {what, errno}, or {"", 0, pid} and the caller's ends.
std::string encode_entry(const std::string& fault, int error, pid_t pid) {
  WireWriter out;
  out.put_string(fault);
  out.put(static_cast<std::int32_t>(error));
  out.put(pid);
  return out.bytes();
}

/// The command's own side of its standard streams.
struct Streams {
  core::Fd in, out, err;
  bool terminal = false;
};

class Command {
 public:
  Command(const ExecSite& site, const ExecRequest& request, const Streams& streams, int released)
      : site_(site), request_(request), streams_(streams), released_(released) {}

  [[noreturn]] void run() {
    expect(setsid() >= 0);
    expect(dup2(streams_.in.get(), 0) == 0 && dup2(streams_.out.get(), 1) == 1 && dup2(streams_.err.get(), 2) == 2);
    if (streams_.terminal) expect(ioctl(0, TIOCSCTTY, 0) == 0);
    if (const int fault = set_rlimits(step_rlimits(site_.limits)); fault != 0) stop(fault);
    expect(chdir("/work") == 0);
    const CommandLine command(request_.argv, request_.env);
    expect(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0);
    char byte = 0;
    if (read(released_, &byte, 1) != 1) _exit(127);  // the attendant has given up
    stop(command.execute());
  }

 private:
  [[noreturn]] void stop(int error) {
    (void)!write(released_, &error, sizeof error);
    _exit(127);
  }
  void expect(bool done) {
    if (!done) stop(errno);
  }

  const ExecSite& site_;
  const ExecRequest& request_;
  const Streams& streams_;
  int released_;
};

class Entrant {
 public:
  Entrant(const ExecSite& site, const ExecRequest& request, int attendant, int released)
      : site_(site), request_(request), attendant_(attendant), released_(released) {}

  [[noreturn]] void run() {
    prepare();
    enter();
    drop();
    if (request_.terminal) make_terminal();
    else open_pipes();
    // A sibling, not a child: the attendant waits for it. The libc has no call for that; the seccomp filter lets clone through, not clone3.
    const auto command = static_cast<pid_t>(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0));
    if (command == 0) {
      close(attendant_);  // so that the entrant's death shows
      Command(site_, request_, streams_, released_).run();
    }
    expect(command > 0, "clone");  // EAGAIN: the program has used up its processes
    if (!send_message(attendant_, encode_entry("", 0, command), theirs())) _exit(1);
    _exit(0);
  }

 private:
  [[noreturn]] void fail(const std::string& what, int error) {
    (void)send_message(attendant_, encode_entry(what, error, 0));
    _exit(1);
  }
  void expect(bool done, const char* what) {
    if (!done) fail(what, errno);
  }
  void expect(const core::Status& done) {
    if (!done) fail(done.error().what, done.error().sys_errno);
  }

  /// What needs the host: groups, and the namespaces as descriptors. Afterwards nothing of the host's is open but /dev/null.
  void prepare() {
    expect(reset_inherited());
    for (const auto& group : site_.groups) expect(write_kernel_file(group + "/cgroup.procs", "0"));
    expect(write_kernel_file("/proc/self/oom_score_adj", kOomScore));
    auto time = open_kernel_file("/proc/" + std::to_string(site_.init) + "/ns/time_for_children", O_RDONLY);
    if (!time) fail(time.error().what, time.error().sys_errno);
    time_ = std::move(*time);
    const core::Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = 0; fd < 3; ++fd) expect(dup2(null.get(), fd) == fd, "/dev/null");
    expect(close_all_but({0, 1, 2, time_.get(), site_.init_pidfd, attendant_, released_}), "close_range");
  }

  void enter() {
    expect(setns(time_.get(), CLONE_NEWTIME) == 0, "setns to the time namespace");
    // One call, so that it is all of the same sandbox. Root and working directory become those of the mount namespace.
    expect(setns(site_.init_pidfd, kNamespaces) == 0, "setns");
    time_.reset();
    close(site_.init_pidfd);
  }

  void drop() {
    expect(setgroups(0, nullptr) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "ids");
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
      expect(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, "capabilities");
    if (const int fault = set_rlimits(fixed_rlimits()); fault != 0) fail("rlimits", fault);  // the filter keeps some as they are
    if (const int fault = take_program_ids(); fault != 0) fail("ids of the program", fault);
    umask(022);
    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    // A change of ids may have made it dumpable, by the host's settings (fs.suid_dumpable).
    expect(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
    if (const int fault = install_seccomp_filter(site_.filter); fault != 0) fail("seccomp", fault);
  }

  // Made as the program's user, so that they belong to it: `echo >/dev/stderr` opens them again.
  void open_pipes() {
    for (auto [read_end, write_end] : {std::pair{&streams_.in, &input_}, {&output_, &streams_.out}, {&errors_, &streams_.err}}) {
      int ends[2];
      expect(pipe2(ends, O_CLOEXEC) == 0, "pipe");
      *read_end = core::Fd(ends[0]);
      *write_end = core::Fd(ends[1]);
    }
  }

  void make_terminal() {
    auto terminal = open_terminal({request_.rows, request_.columns, 0, 0});
    if (!terminal) fail(terminal.error().what, terminal.error().sys_errno);
    input_ = std::move(terminal->master);
    streams_.in = std::move(terminal->ours);
    for (auto* stream : {&streams_.out, &streams_.err}) {
      *stream = streams_.in.duplicate();
      expect(stream->valid(), "duplicate the terminal");
    }
    streams_.terminal = true;
  }

  std::vector<int> theirs() const {
    if (request_.terminal) return {input_.get()};
    return {input_.get(), output_.get(), errors_.get()};
  }

  const ExecSite& site_;
  const ExecRequest& request_;
  int attendant_, released_;
  core::Fd time_, input_, output_, errors_;
  Streams streams_;
};

class Attendant {
 public:
  Attendant(const ExecSite& site, const ExecRequest& request, core::Fd answer, core::Fd leash)
      : site_(site), request_(request), answer_(std::move(answer)), leash_(std::move(leash)) {}

  [[noreturn]] void run() {
    // A caller that does not read is not waited for.
    (void)fcntl(answer_.get(), F_SETFL, O_NONBLOCK);
    const auto status = attend();
    release_.reset();
    if (command_ > 0) (void)kill(command_, SIGKILL);
    while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {}
    (void)send_message(answer_.get(), status ? encode_exec_end(*status) : encode_refusal(status.error()));
    _exit(0);
  }

 private:
  /// The command's wait status.
  core::Result<int> attend() {
    if (!close_all_but({0, 1, 2, answer_.get(), leash_.get(), site_.init_pidfd})) return core::errno_error("close_range");
    auto entry = socket_pair(), release = socket_pair();
    if (!entry || !release) return std::unexpected(!entry ? entry.error() : release.error());
    release_ = std::move(release->first);
    const pid_t entrant = fork();
    if (entrant < 0) return core::errno_error("fork");
    if (entrant == 0) Entrant(site_, request_, entry->second.get(), release->second.get()).run();
    entry->second.reset();
    release->second.reset();
    auto ends = await_entry(entry->first);
    if (!ends) (void)kill(entrant, SIGKILL);
    if (!ends) return std::unexpected(ends.error());
    if (auto executed = execute(); !executed) return std::unexpected(executed.error());
    std::vector<int> fds;
    for (const auto& end : *ends) fds.push_back(end.get());
    if (!send_message(answer_.get(), {&kBegunMessage, 1}, fds)) return gone();
    ends->clear();
    return await_end();
  }

  static std::unexpected<core::Error> gone() { return core::error(core::ErrorKind::unavailable, "nobody waits for the command any more"); }

  /// True when `fd` is readable; false when the caller or the slot hung up, or time is over (none: -1).
  bool await(int fd, std::chrono::milliseconds at_most) const {
    pollfd entries[] = {{fd, POLLIN, 0}, {answer_.get(), 0, 0}, {leash_.get(), 0, 0}};
    int ready = 0;
    while ((ready = poll(entries, 3, static_cast<int>(at_most.count()))) < 0 && errno == EINTR) {}
    return ready > 0 && entries[1].revents == 0 && entries[2].revents == 0;
  }

  /// Waits until the entrant has made the command. The caller's ends.
  core::Result<std::vector<core::Fd>> await_entry(const core::Fd& entry) {
    if (!await(entry.get(), kEnterTime)) return gone();
    auto message = receive_message(entry.get());
    if (!message) return std::unexpected(message.error());
    WireReader in(message->bytes);
    const std::string fault = in.take_string();
    const int error = in.take<std::int32_t>();
    command_ = in.take<pid_t>();
    if (!in.complete()) return core::error(core::ErrorKind::unavailable, "the way into the sandbox was cut: out of memory, or it ended");
    if (fault.empty()) return std::move(message->fds);
    command_ = -1;
    // What the program has used up is not a failure of ours.
    const bool used_up = error == EAGAIN || error == ENOMEM || error == ENOSPC || error == EMFILE;
    return std::unexpected(core::Error{used_up ? core::ErrorKind::unavailable : core::ErrorKind::internal,
                                       "exec: " + fault + ": " + std::strerror(error), error});
  }

  /// Lets the command execute. End-of-file says that it did.
  core::Status execute() {
    if (!send_message(release_.get(), "x")) return core::error(core::ErrorKind::unavailable, "the command was killed before it executed");
    if (!await(release_.get(), std::chrono::milliseconds(-1))) return gone();
    int error = 0;
    if (read(release_.get(), &error, sizeof error) != sizeof error) return {};
    return core::error(core::ErrorKind::invalid, "cannot execute " + request_.argv.front() + ": " + std::strerror(error));
  }

  core::Result<int> await_end() {
    const core::Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, command_, 0)));
    if (!pidfd.valid()) return core::errno_error("pidfd_open");
    // It leads a process group, whose members may hold the caller's ends.
    if (!await(pidfd.get(), std::chrono::milliseconds(-1))) (void)kill(-command_, SIGKILL), (void)kill(command_, SIGKILL);
    int status = 0;
    if (waitpid(std::exchange(command_, -1), &status, __WALL) < 0) return core::errno_error("waitpid");
    return status;
  }

  const ExecSite& site_;
  const ExecRequest& request_;
  core::Fd answer_, leash_, release_;
  pid_t command_ = -1;
};

}  // namespace

void attend_exec(const ExecSite& site, const ExecRequest& request, core::Fd answer, core::Fd leash) {
  Attendant(site, request, std::move(answer), std::move(leash)).run();
}

}  // namespace bailiff::sandbox
