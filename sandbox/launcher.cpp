#include "sandbox/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>

#include "sandbox/image_mounts.h"
#include "sandbox/message.h"
#include "sandbox/slot.h"
#include "sandbox/socket.h"
#include "sandbox/wire.h"

namespace bailiff::sandbox {
namespace {

constexpr const char* kRunDirectory = "/tmp";  // hidden by a tmpfs of our own in our mount namespace
constexpr std::chrono::seconds kConfigTime(10);
// A slot that cannot live is not restarted in a busy loop.
constexpr std::chrono::milliseconds kRestartPause(200);

void log_line(const std::string& text) { (void)std::fprintf(stderr, "bailiff-launcher: %s\n", text.c_str()); }

class LauncherProcess {
 public:
  LauncherProcess(core::Fd caller, core::Fd images) : caller_(std::move(caller)), image_caller_(std::move(images)) {}

  int run() {
    if (auto ready = set_up(); !ready) return refuse(ready.error());
    for (unsigned index = 0; index < config_.slots; ++index)
      if (auto started = start_slot(index); !started) return refuse(started.error());
    while (watch()) {}
    end_slots();
    return 0;
  }

 private:
  struct SlotProcess {
    pid_t pid = -1;
    std::chrono::steady_clock::time_point started;
  };

  int refuse(const core::Error& error) {
    log_line(error.what);
    WireWriter out;
    out.put(kErrorMessage);
    out.put_string(error.what);
    (void)send_message(caller_.get(), out.bytes());
    end_slots();
    return 1;
  }

  core::Status set_up() {
    if (geteuid() != 0)
      return core::error(core::ErrorKind::unavailable, "the launcher needs root: it makes namespaces, cgroups and mounts");
    // What a dead slot leaves comes to us to be reaped, and not to a pid 1 that may not do it.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return core::errno_error("prctl");
    sigset_t watched;
    sigemptyset(&watched);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&watched, signal);
    if (sigprocmask(SIG_BLOCK, &watched, nullptr) != 0) return core::errno_error("sigprocmask");
    signals_ = core::Fd(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.valid()) return core::errno_error("signalfd");
    if (!wait_readable(caller_.get(), kConfigTime)) return core::error(core::ErrorKind::unavailable, "no configuration came");
    auto message = receive_message(caller_.get());
    if (!message) return std::unexpected(message.error());
    auto config = decode_config(message->bytes);
    if (!config) return std::unexpected(config.error());
    config_ = std::move(*config);
    auto filter = compile_seccomp_filter();
    if (!filter) return std::unexpected(filter.error());
    filter_ = std::move(*filter);
    const bool delegated = config_.cgroup_driver == CgroupDriver::systemd;  // its caller has moved us into the scope already
    auto cgroups = CgroupHost::make(config_.cgroup_parent + "." + std::to_string(getpid()), delegated);
    if (!cgroups) return std::unexpected(cgroups.error());
    cgroups_ = std::move(*cgroups);
    if (auto marked = cgroups_->mark_packets(config_.net_marks); !marked) return marked;
    slots_.resize(config_.slots);
    for (const auto& cpus : config_.slot_cpus)
      if (!cpus.empty())
        if (auto can = cgroups_->can_pin(cpus); !can) return can;
    return make_directories();
  }

  core::Status make_directories() {
    if (auto left = leave_host_mounts(); !left) return left;
    std::vector<core::Fd> roots;  // an image may lie below what is hidden next
    for (auto& image : config_.images) {
      if (image.kind == Image::Kind::host) continue;
      roots.emplace_back(open(image.path.c_str(), O_PATH | O_CLOEXEC));
      if (!roots.back().valid()) return core::errno_error("image " + image.name + ": " + image.path);
      image.path = "/proc/self/fd/" + std::to_string(roots.back().get());
    }
    if (auto started = images_.start(kRunDirectory, config_.images_directory); !started) return started;
    for (const Image& image : config_.images)
      if (auto added = images_.add(image); !added) return added;
    return {};
  }

  core::Status start_slot(unsigned index) {
    for (unsigned station = 0; station < kStationsPerSlot; ++station)
      if (auto removed = cgroups_->remove_station(station_name(index, station)); !removed) return removed;
    auto sockets = socket_pair();
    if (!sockets) return std::unexpected(sockets.error());
    const pid_t launcher = getpid();
    const pid_t pid = fork();
    if (pid < 0) return core::errno_error("fork");
    if (pid == 0) {
      sockets->first.reset();
      slot_process(index, launcher, std::move(sockets->second));
    }
    slots_[index] = {pid, std::chrono::steady_clock::now()};
    sockets->second.reset();
    WireWriter out;
    out.put(kSlotMessage);
    out.put(index);
    return send_message(caller_.get(), out.bytes(), {sockets->first.get()});
  }

  [[noreturn]] void slot_process(unsigned index, pid_t launcher, core::Fd socket) {
    // If the launcher died before the death signal was set, nobody else would end us.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != launcher) _exit(1);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, nullptr);
    caller_.reset();
    image_caller_.reset();
    signals_.reset();
    if (unshare(CLONE_NEWNS) != 0 || !follow_image_mounts(kRunDirectory)) _exit(1);
    const SlotContext context{config_, *cgroups_, filter_, index, kRunDirectory};
    _exit(run_slot(context, std::move(socket)));
  }

  /// One turn. False when it is time to end.
  bool watch() {
    pollfd entries[] = {{caller_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {image_caller_.get(), POLLIN, 0}};
    if (poll(entries, 3, -1) < 0 && errno != EINTR) return false;
    if (entries[0].revents != 0) return false;  // the caller says nothing after its configuration: this is its end
    if (entries[2].revents != 0) serve_image();
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == sizeof info)
      if (info.ssi_signo != SIGCHLD) return false;
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      for (unsigned index = 0; index < slots_.size(); ++index)
        if (slots_[index].pid == pid && !replace(index, status)) return false;
    return true;
  }

  void serve_image() {
    auto message = receive_message(image_caller_.get());
    if (!message || message->bytes.empty()) return image_caller_.reset();
    WireReader in(message->bytes);
    const auto what = in.take<char>();
    const auto name = in.take_string();
    core::Status done = core::error(core::ErrorKind::invalid, "malformed message about an image");
    if (in.complete() && what == kAddImageMessage) done = images_.add_stored(name);
    if (in.complete() && what == kRemoveImageMessage) done = images_.remove_stored(name);
    WireWriter out;
    out.put(static_cast<std::uint32_t>(done ? core::ErrorKind::internal : done.error().kind));
    out.put_string(done ? "" : done.error().what);
    if (!send_message(image_caller_.get(), out.bytes())) image_caller_.reset();
  }

  bool replace(unsigned index, int status) {
    slots_[index].pid = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;  // its caller closed it and wants no other
    log_line("slot " + std::to_string(index) + " ended, wait status " + std::to_string(status) + "; starting a new one");
    if (std::chrono::steady_clock::now() - slots_[index].started < kRestartPause)
      (void)usleep(static_cast<useconds_t>(kRestartPause.count()) * 1000);
    const auto started = start_slot(index);
    if (!started) log_line("slot " + std::to_string(index) + ": " + started.error().what);
    return started.has_value();
  }

  void end_slots() {
    for (const auto& slot : slots_)
      if (slot.pid > 0) (void)kill(slot.pid, SIGKILL);
    for (const auto& slot : slots_)
      if (slot.pid > 0) (void)waitpid(slot.pid, nullptr, 0);
    if (!cgroups_) return;
    if (auto removed = cgroups_->remove(); !removed) log_line("cgroups are left: " + removed.error().what);
  }

  core::Fd caller_, image_caller_, signals_;
  ImageMounts images_;
  LauncherConfig config_;
  SeccompFilter filter_;
  std::optional<CgroupHost> cgroups_;
  std::vector<SlotProcess> slots_;
};

}  // namespace

int run_launcher(core::Fd caller, core::Fd images) { return LauncherProcess(std::move(caller), std::move(images)).run(); }

}  // namespace bailiff::sandbox
