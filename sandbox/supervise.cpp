#include "sandbox/supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>

#include "sandbox/beside.h"
#include "sandbox/kernel_file.h"
#include "sandbox/message.h"
#include "sandbox/socket.h"
#include "sandbox/usage_log.h"

namespace bailiff::sandbox {
namespace {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, as init's and the program's timestamps are
using std::chrono::nanoseconds;

// From "go" to the program's exec: unpacking of files included. A set-up that takes longer has failed.
constexpr std::chrono::seconds kSetUpTime(30);
// From the death of the last program to init's report of it.
constexpr std::chrono::seconds kReportTime(2);
// The smallest pause between two looks at the CPU counter: what a limit may be overrun by at the most.
constexpr nanoseconds kCpuCheck = std::chrono::microseconds(300);
// How often, and after what pause, a kill is looked for after the kernel told of a met memory limit.
constexpr int kOomLooks = 20;
constexpr nanoseconds kOomPause = std::chrono::milliseconds(1);
// From when on the host's counters are read: they count in steps of 10 ms, and are not cheap.
constexpr nanoseconds kHostLook = std::chrono::milliseconds(10);
constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::size_t kReadBytes = 64 * 1024;

/// One captured stream: the read end of the program's pipe and the memfd it goes to.
struct Capture {
  core::Fd pipe;
  int memfd = -1;
  std::uint64_t bytes = 0;
  bool over = false;  // more came than the limit allows
};

class Supervision {
 public:
  Supervision(Stall& stall, Sandbox& sandbox, const StepRequest& request, int caller)
      : station_(stall.station()), stall_(stall), sandbox_(sandbox), request_(request), caller_(caller),
        beside_({sandbox.init, sandbox.pidfd.get(), stall.station().groups(), request.limits, stall.filter()}) {}

  core::Result<core::Outcome> run(const StepFds& fds, const std::function<void()>& meanwhile) {
    if (auto started = start(fds); !started) return std::unexpected(started.error());
    meanwhile();
    while (!ended_ && !killed_)
      if (auto turned = turn(); !turned) return std::unexpected(turned.error());
    take_program_reports();
    // After an end of its own nothing but init is alive, and init's exit is neither waited for nor the program's cost.
    if (!ended_ && !end_program()) return core::error(core::ErrorKind::internal, "the sandbox does not die");
    if (auto ended = beside_.end(); !ended) return std::unexpected(ended.error());
    if (wall_ == nanoseconds::zero()) wall_ = (paused_ ? paused_at_ : Clock::now()) - executing_at_;
    if (paused_) paused_time_ += Clock::now() - paused_at_;
    auto used = station_.usage();
    if (!used) return std::unexpected(used.error());
    used_ = *used;
    // Every writer is dead, so what cannot be read now never comes.
    for (auto& capture : captures_)
      while (capture.pipe.valid()) drain(capture);
    if (fault_) return std::unexpected(*fault_);
    return outcome();
  }

 private:
  core::Status start(const StepFds& fds) {
    captures_[0] = {std::move(sandbox_.stdout_pipe), fds.stdout_memfd.get()};
    captures_[1] = {std::move(sandbox_.stderr_pipe), fds.stderr_memfd.get()};
    owes_input_ = request_.input != StepInput::given;
    const bool is_inline = !fds.request.valid();
    std::string go = {is_inline ? kInlineRequest : kMemfdRequest, static_cast<char>(fds.stdin_memfd.valid())};
    go += fds.request_bytes;
    std::vector<int> passed;
    if (!is_inline) passed.push_back(fds.request.get());
    if (fds.stdin_memfd.valid()) passed.push_back(fds.stdin_memfd.get());
    for (const auto& tree : fds.trees) passed.push_back(tree.get());
    // Monotonic and boot time start near zero in the sandbox.
    const std::string offsets = clock_offsets_from_now(stall_.clock_start_s());
    if (sandbox_.clock_offsets.valid() && write(sandbox_.clock_offsets.get(), offsets.data(), offsets.size()) < 0)
      return core::errno_error("write timens_offsets");
    go_at_ = executing_at_ = Clock::now();
    memory_look_at_ = go_at_ + Starvation::kLook;
    arm();
    return send_message(sandbox_.program.get(), go, passed);
  }

  core::Status turn() {
    // The program's socket is among them only while it owes its input: that it executes is news for nobody until a timer goes off or it
    // has ended.
    std::array<pollfd, 8> entries = {{{sandbox_.control.get(), POLLIN, 0},
                                      {sandbox_.pidfd.get(), POLLIN, 0},
                                      {captures_[0].pipe.get(), POLLIN, 0},
                                      {captures_[1].pipe.get(), POLLIN, 0},
                                      {sandbox_.timer.get(), POLLIN, 0},
                                      {station_.oom_fd(), station_.oom_poll_events(), 0},
                                      {caller_, POLLIN, 0},
                                      {owes_input_ ? sandbox_.program.get() : -1, POLLIN, 0}}};
    if (poll(entries.data(), entries.size(), until_next_look()) < 0 && errno != EINTR) return core::errno_error("poll");
    if (entries[5].revents != 0) on_oom_event(kOomLooks);
    if (entries[6].revents != 0) on_caller();
    if (entries[7].revents != 0) take_program_reports();
    if (entries[2].revents != 0) drain(captures_[0]);
    if (entries[3].revents != 0) drain(captures_[1]);
    if (captures_[0].over || captures_[1].over) end(output_over_);
    if (entries[0].revents != 0) on_end();
    if (entries[1].revents != 0 && !ended_) on_init_death();
    if (entries[4].revents != 0) return on_timer();
    return {};
  }

  /// Milliseconds until the host's counters are to be read (once), then the memory's (again and again). A shorter step does without.
  int until_next_look() {
    const auto now = Clock::now();
    if (!host_before_ && now - go_at_ >= kHostLook) host_before_ = stall_.host().look();
    if (now >= memory_look_at_) {
      if (!paused_) look_at_usage(now, look_at_memory(now));
      if (starvation_.lasts()) end(oom_);
      memory_look_at_ = now + Starvation::kLook;
    }
    const auto next = host_before_ ? memory_look_at_ : go_at_ + kHostLook;
    return killed_ ? 0 : static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
  }

  MemoryState look_at_memory(Clock::time_point now) {
    const auto state = station_.memory_state();
    if (!state) fail("the memory cannot be looked at: " + state.error().what, state.error().sys_errno);
    if (!state) return {};
    starvation_.look(*state, now);
    return *state;
  }

  void look_at_usage(Clock::time_point now, const MemoryState& memory) {
    if (!executing_) take_program_reports();
    const auto cpu = station_.cpu_ns();
    if (!executing_ || !cpu) return;
    const auto wall = std::chrono::duration_cast<std::chrono::microseconds>(now - executing_at_);
    const std::uint64_t cpu_ns = *cpu - std::min(*cpu, setup_cpu_ns_);
    usage_log_.add({static_cast<std::uint64_t>(std::max<std::int64_t>(wall.count(), 0)), cpu_ns / 1000,
                    request_.limits.memory_bytes - std::min(request_.limits.memory_bytes, memory.room_bytes), station_.processes_now()});
  }

  /// A time that is over while the program had no memory left to run in is a matter of the memory.
  void end_of_time(bool& why) {
    (void)look_at_memory(Clock::now());
    end(starvation_.starved() ? oom_ : why);
  }

  /// The first limit ends everything; several flags may be set by then and the verdict's order decides.
  void end(bool& why) {
    why = true;
    killed_ = true;
  }

  /// The program dies first, at once, and init reports that as it reports any end: so init's own death is on nobody's account. Where that
  /// does not work, init dies and takes the rest along.
  bool end_program() {
    station_.kill_programs(sandbox_.init);
    if (station_.release() && wait_readable(sandbox_.control.get(), kReportTime)) on_end();
    return ended_ || stall_.kill_and_reap();
  }

  void fail(std::string what, int error_number = 0) {
    if (!fault_) fault_ = core::Error{core::ErrorKind::internal, std::move(what), error_number};
    killed_ = true;
  }

  /// v1 tells that the limit is met before it kills, and nothing more; so the kill is looked for again.
  void on_oom_event(int more_looks) {
    if (station_.take_oom_event()) return end(oom_);
    oom_looks_ = more_looks;
    if (oom_looks_ > 0) set_timer(kOomPause);
  }

  void on_caller() {
    auto message = receive_message(caller_);
    if (!message || message->bytes.empty()) return fail("the caller is gone");
    switch (message->bytes.front()) {
      case kCancelMessage: return end(cancelled_);
      case kPauseMessage: return pause();
      case kResumeMessage: return resume();
      case kTellOutputMessage: return tell_output();
      default: return beside_.serve(*message, paused_, usage_log_.samples());
    }
  }

  /// The clocks of the limits stand still until resume().
  void pause() {
    if (paused_) return;
    if (auto frozen = station_.freeze(); !frozen) return fail("cannot pause: " + frozen.error().what);
    paused_ = true;
    paused_at_ = Clock::now();
    set_timer(nanoseconds::zero());  // none
  }

  void resume() {
    if (!paused_) return;
    take_program_reports();  // of the time before, so that it is known when the program began
    if (auto thawed = station_.thaw(); !thawed) return fail("cannot resume: " + thawed.error().what);
    const auto now = Clock::now();
    paused_ = false;
    paused_time_ += now - paused_at_;
    go_at_ += now - paused_at_;
    executing_at_ += now - std::max(paused_at_, executing_at_);
    arm();
  }

  /// The caller asked to be told of output once: now, where some came since it was last told, or with the next.
  void tell_output() {
    output_awaited_ = true;
    if (output_untold_) notify_output();
  }

  void notify_output() {
    output_untold_ = true;
    if (!output_awaited_) return;
    // There is room for it: one is on its way at a time. A caller that is gone is noticed elsewhere.
    (void)send(caller_, &kOutputNoticeMessage, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    output_awaited_ = output_untold_ = false;
  }

  void drain(Capture& capture) {
    static char buffer[kReadBytes];  // one thread, and no copy outlives the call
    const ssize_t n = read(capture.pipe.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (killed_ || ended_) capture.pipe.reset();  // empty means done
      return;
    }
    if (n <= 0) return capture.pipe.reset();
    const std::uint64_t room = request_.limits.output_bytes - capture.bytes;
    const std::uint64_t kept = std::min<std::uint64_t>(room, static_cast<std::uint64_t>(n));
    if (kept < static_cast<std::uint64_t>(n)) capture.over = true;
    for (std::uint64_t done = 0; done < kept;) {
      const ssize_t written = pwrite(capture.memfd, buffer + done, kept - done, static_cast<off_t>(capture.bytes));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return fail("write of captured output", errno);
      capture.bytes += static_cast<std::uint64_t>(written);
      done += static_cast<std::uint64_t>(written);
    }
    if (kept > 0) notify_output();
    // What comes after the limit is thrown away, so that the pipe can be emptied.
  }

  void on_end() {
    InitReport report{};
    const ssize_t n = recv(sandbox_.control.get(), &report, sizeof report, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n != sizeof report) return on_init_death();
    take_program_reports();
    if (report.kind != InitReport::Kind::ended) return fail("unexpected report from init");
    if (!paused_) wall_ = Clock::time_point(nanoseconds(report.at_ns)) - executing_at_;
    status_ = report.status;
    setup_cpu_ns_ += report.cpu_ns;
    involuntary_switches_ = report.involuntary_switches;
    ended_ = true;
    // Before it executes, the program's process is ours: its death is a report or a fault.
    if (executing_ || exec_error_ != 0 || no_space_ || killed_) return;
    if (station_.take_oom_event()) return end(oom_);
    fail("the program's process died before it executed");
  }

  bool next_program_report(InitReport& report) {
    if (!owes_input_) return recv(sandbox_.program.get(), &report, sizeof report, MSG_DONTWAIT) == sizeof report;
    if (!wait_readable(sandbox_.program.get(), std::chrono::milliseconds(0))) return false;
    auto message = receive_message(sandbox_.program.get());
    if (!message || message->bytes.size() != sizeof report) owes_input_ = false;  // it is dead, which is seen elsewhere
    if (!owes_input_) return false;
    std::memcpy(&report, message->bytes.data(), sizeof report);
    if (report.kind == InitReport::Kind::input) take_input(std::move(message->fds));
    return true;
  }

  /// To the caller with it. A terminal's master gives the output too.
  void take_input(std::vector<core::Fd> fds) {
    owes_input_ = false;
    const bool is_terminal = request_.input == StepInput::terminal;
    if (fds.size() != (is_terminal ? 2 : 1)) return fail("the program's process gave no input");
    const core::Fd input = std::move(fds.front());
    if (is_terminal) {
      terminal_ = std::move(fds.back());
      captures_[0].pipe = input.duplicate();
      captures_[1].pipe.reset();
      if (!captures_[0].pipe.valid() || fcntl(input.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0)
        return fail("terminal of the program", errno);
    }
    // There is room for it. A caller that is gone is noticed elsewhere.
    (void)send_message(caller_, {&kInputNoticeMessage, 1}, {input.get()});
  }

  /// What the process that becomes the program said since the last look.
  void take_program_reports() {
    InitReport report{};
    while (next_program_report(report)) {
      switch (report.kind) {
        case InitReport::Kind::input: break;  // is taken
        case InitReport::Kind::executing:
          executing_ = true;
          setup_cpu_ns_ += report.cpu_ns;
          executing_at_ = Clock::time_point(nanoseconds(report.at_ns + sandbox_.clock_offset_ns));
          break;
        case InitReport::Kind::exec_failed:
          exec_error_ = report.error;
          exec_step_ = report.step;
          break;
        case InitReport::Kind::no_space: no_space_ = true; break;
        case InitReport::Kind::failed:
          fail(std::string("sandbox set-up: ") + name(report.step) + ": " + std::strerror(report.error), report.error);
          break;
        case InitReport::Kind::prepared:
        case InitReport::Kind::ended: fail("unexpected report from the program's process");
      }
    }
  }

  /// Init dies before its report only when we or the kernel's OOM killer killed it.
  void on_init_death() {
    if (killed_) return;
    if (station_.take_oom_event()) return end(oom_);
    fail("init died");
  }

  core::Status on_timer() {
    std::uint64_t expirations = 0;
    (void)!read(sandbox_.timer.get(), &expirations, sizeof expirations);
    if (paused_) return {};
    if (!executing_) take_program_reports();
    if (executing_) {
      if (Clock::now() - executing_at_ >= std::chrono::microseconds(request_.limits.wall_time_us)) end_of_time(wall_over_);
      auto cpu = station_.cpu_ns();
      if (!cpu) return std::unexpected(cpu.error());
      cpu_seen_ns_ = *cpu - std::min(*cpu, setup_cpu_ns_);
      if (cpu_seen_ns_ > request_.limits.cpu_time_us * 1000) end_of_time(cpu_over_);
    } else if (Clock::now() - go_at_ >= kSetUpTime) {
      fail("the program's start takes too long");
    } else {
      executing_at_ = Clock::now();  // at the earliest
    }
    if (killed_) return {};
    arm();
    if (oom_looks_ > 0) on_oom_event(oom_looks_ - 1);
    return {};
  }

  /// The timer goes off at the earliest instant at which a limit can have been reached.
  void arm() {
    const std::uint64_t limit_ns = request_.limits.cpu_time_us * 1000;
    const auto cpu_left = earliest_use(limit_ns - std::min(limit_ns, cpu_seen_ns_));
    const auto wall_left = std::chrono::microseconds(request_.limits.wall_time_us) - (Clock::now() - executing_at_);
    set_timer(std::max<nanoseconds>(std::min<nanoseconds>(std::max(cpu_left, kCpuCheck), wall_left), std::chrono::microseconds(1)));
  }

  /// CPU time passes at most as fast as there are CPUs and threads, and over a while at most at the allowed rate, which lets pass at once
  /// what a whole period and the CPUs' unspent slices of it come to.
  [[nodiscard]] nanoseconds earliest_use(std::uint64_t cpu_ns) const {
    static const auto host_cpus = static_cast<std::uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
    constexpr std::uint64_t kSliceNs = 5'000'000;  // sched_cfs_bandwidth_slice_us
    const std::uint64_t at_once = std::max<std::uint64_t>(1, std::min(host_cpus, request_.limits.processes));
    const std::uint64_t burst_ns = request_.limits.cpus_milli * kCpuPeriodUs + at_once * kSliceNs;
    const std::uint64_t throttled_ns = (cpu_ns - std::min(cpu_ns, burst_ns)) * 1000 / request_.limits.cpus_milli;
    return nanoseconds(std::max(cpu_ns / at_once, throttled_ns));
  }

  void set_timer(nanoseconds after) const {
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(after.count() / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(after.count() % 1'000'000'000);
    (void)timerfd_settime(sandbox_.timer.get(), 0, &when, nullptr);
  }

  core::Outcome outcome() {
    core::Outcome out;
    const std::uint64_t cpu_ns = used_.cpu_ns - std::min(used_.cpu_ns, setup_cpu_ns_);
    out.usage.cpu_us = executing_ ? cpu_ns / 1000 : 0;
    // Our set-up is kernel work; it comes off the system part.
    out.usage.cpu_user_us = std::min(out.usage.cpu_us, used_.user_ns / 1000);
    out.usage.cpu_system_us = out.usage.cpu_us - out.usage.cpu_user_us;
    // An end that init could not report before a pause looks as if it came before the shifted beginning.
    const auto wall = std::chrono::duration_cast<std::chrono::microseconds>(std::max(wall_, nanoseconds::zero()));
    out.usage.wall_us = executing_ ? static_cast<std::uint64_t>(wall.count()) : 0;
    out.usage.memory_peak_bytes = used_.memory_peak_bytes;
    out.usage.processes_peak = used_.processes_peak;
    out.stdout_truncated = captures_[0].over;
    out.stderr_truncated = captures_[1].over;
    oom_ = oom_ || used_.oom_kills > 0;
    output_over_ = output_over_ || captures_[0].over || captures_[1].over;
    cpu_over_ = cpu_over_ || out.usage.cpu_us > request_.limits.cpu_time_us;
    wall_over_ = wall_over_ || out.usage.wall_us > request_.limits.wall_time_us;
    out.evidence = {{"oom_kill", static_cast<std::int64_t>(used_.oom_kills)},
                    {"pids_max_hits", static_cast<std::int64_t>(used_.pids_max_hits)},
                    {"throttled_ms", static_cast<std::int64_t>(used_.throttled_ns / 1'000'000)},
                    {"memory_anon_bytes", static_cast<std::int64_t>(used_.memory_anon_bytes)},
                    {"memory_file_bytes", static_cast<std::int64_t>(used_.memory_file_bytes)},
                    {"memory_refaults", static_cast<std::int64_t>(used_.memory_refaults)},
                    {"paused_ms", std::chrono::duration_cast<std::chrono::milliseconds>(paused_time_).count()},
                    {"setup_cpu_us", static_cast<std::int64_t>(setup_cpu_ns_ / 1000)}};
    if (used_.io) {
      out.evidence.emplace_back("io_read_bytes", used_.io->read);
      out.evidence.emplace_back("io_write_bytes", used_.io->written);
    }
    add_disturbances(out.evidence);
    out.samples = usage_log_.samples();
    decide(out);
    return out;
  }

  /// What tells of a run that was disturbed. Of what nobody counted there is no entry.
  void add_disturbances(core::Evidence& evidence) const {
    if (involuntary_switches_) evidence.emplace_back("involuntary_switches", *involuntary_switches_);
    const auto host = host_before_ ? stall_.host().look() - *host_before_ : HostCounts{};
    const auto pressure = used_.cpu_pressure_us ? used_.cpu_pressure_us : host.cpu_pressure_us;
    if (pressure) evidence.emplace_back("pressure_cpu_us", *pressure);
    if (host.steal_ms) evidence.emplace_back("steal_ms", *host.steal_ms);
  }

  /// api.md: cancelled, memory, output, time, wall time, runtime error.
  void decide(core::Outcome& out) const {
    using core::Verdict;
    const auto milliseconds = [](std::uint64_t us) { return std::to_string(us / 1000) + " ms"; };
    if (cancelled_) return set(out, Verdict::cancelled, "cancelled");
    if (oom_)
      return set(out, Verdict::memory_limit_exceeded,
                 "memory limit of " + std::to_string(request_.limits.memory_bytes) + " bytes exceeded");
    if (output_over_)
      return set(out, Verdict::output_limit_exceeded,
                 "output limit of " + std::to_string(request_.limits.output_bytes) + " bytes exceeded");
    if (cpu_over_)
      return set(out, Verdict::time_limit_exceeded, "CPU time limit of " + milliseconds(request_.limits.cpu_time_us) + " exceeded");
    if (wall_over_)
      return set(out, Verdict::wall_time_limit_exceeded, "wall time limit of " + milliseconds(request_.limits.wall_time_us) + " exceeded");
    if (no_space_) return set(out, Verdict::runtime_error, "the files do not fit into the workspace");
    if (exec_error_ != 0) {
      out.exit_code = exec_error_ == ENOENT ? 127 : 126;  // as a shell would say
      const std::string what =
          exec_step_ == InitStep::working_directory ? "cannot enter " + request_.cwd : "cannot execute " + request_.argv.front();
      return set(out, Verdict::runtime_error, what + ": " + std::strerror(exec_error_));
    }
    if (WIFEXITED(status_)) {
      out.exit_code = WEXITSTATUS(status_);
      if (*out.exit_code == 0) return set(out, Verdict::ok, "");
      return set(out, Verdict::runtime_error, "exited with code " + std::to_string(*out.exit_code));
    }
    out.signal = WTERMSIG(status_);
    const char* abbreviation = sigabbrev_np(*out.signal);
    const std::string label = abbreviation != nullptr ? std::string(" (SIG") + abbreviation + ")" : "";
    set(out, Verdict::runtime_error, "killed by signal " + std::to_string(*out.signal) + label);
  }

  static void set(core::Outcome& out, core::Verdict verdict, std::string message) {
    out.verdict = verdict;
    out.message = std::move(message);
  }

  Station& station_;
  Stall& stall_;
  Sandbox& sandbox_;
  const StepRequest& request_;
  int caller_;
  Beside beside_;
  std::array<Capture, 2> captures_;
  Clock::time_point go_at_, executing_at_;  // executing_at_: not before this, until it is known
  Clock::time_point paused_at_, memory_look_at_;
  Starvation starvation_;
  UsageLog usage_log_;
  core::Fd terminal_;  // the program's end: without it, the last one that it closes would end its output for good
  nanoseconds wall_{0}, paused_time_{0};
  CgroupUsage used_;
  std::optional<HostCounts> host_before_;
  std::optional<std::uint64_t> involuntary_switches_;
  std::uint64_t setup_cpu_ns_ = 0, cpu_seen_ns_ = 0;
  int status_ = 0, exec_error_ = 0, oom_looks_ = 0;
  InitStep exec_step_ = InitStep::none;
  bool executing_ = false, ended_ = false, killed_ = false, no_space_ = false, paused_ = false;
  bool output_awaited_ = false, output_untold_ = false, owes_input_ = false;
  bool cancelled_ = false, oom_ = false, output_over_ = false, cpu_over_ = false, wall_over_ = false;
  std::optional<core::Error> fault_;
};

}  // namespace

core::Result<core::Outcome> supervise(Stall& stall, Sandbox& sandbox, const StepRequest& request, const StepFds& fds, int caller,
                                      const std::function<void()>& meanwhile) {
  return Supervision(stall, sandbox, request, caller).run(fds, meanwhile);
}

}  // namespace bailiff::sandbox
