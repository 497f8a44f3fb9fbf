#include "sandbox/slot.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>

#include "sandbox/collect.h"
#include "sandbox/image_mounts.h"
#include "sandbox/message.h"
#include "sandbox/priority.h"
#include "sandbox/program.h"
#include "sandbox/socket.h"
#include "sandbox/stall.h"
#include "sandbox/supervise.h"
#include "sandbox/workspace.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint32_t kIdsPerSlot = 65536;
constexpr int kMustRestart = 3;
constexpr int kBetweenLooks = 2000;  // milliseconds, at whether an idle slot keeps an image that is gone
constexpr std::chrono::microseconds kPause(1500);  // long enough to make a sandbox in

/// A descriptor from the caller: only memfds, so that no read or write on it can block or reach anything else.
bool is_memfd(int fd) { return fcntl(fd, F_GET_SEALS) >= 0; }
bool is_sealed(const core::Fd& fd) { return (fcntl(fd.get(), F_GET_SEALS) & F_SEAL_WRITE) != 0; }

class SlotProcess {
 public:
  SlotProcess(const SlotContext& context, core::Fd caller)
      : context_(context), caller_(std::move(caller)), id_base_(context.config.uid_base + context.index * kIdsPerSlot) {}

  int run() {
    if (auto made = make_stalls(); !made) return refuse_all(made.error());
    while (true) {
      if (!wait_readable(caller_.get(), std::chrono::milliseconds(0))) {
        if (auto tidied = tidy(); !tidied) {
          (void)std::fprintf(stderr, "bailiff-launcher: slot %u: %s\n", context_.index, tidied.error().what.c_str());
          return kMustRestart;
        }
        await_request();
      }
      auto message = receive_message(caller_.get());
      if (!message || message->bytes.empty()) return 0;
      if (message->bytes.front() == kDropMessage) workspace_.drop();
      if (message->bytes.front() != kRunMessage) continue;  // or a cancel, pause or resume that came too late
      paused_ = std::chrono::steady_clock::now() - reported_at_ > kPause;
      auto report = run_step(*message);
      const std::vector<int> fds = report && report->collected.valid() ? std::vector{report->collected.get()} : std::vector<int>{};
      if (!send_message(caller_.get(), encode_report(report), fds)) return 0;
      reported_at_ = std::chrono::steady_clock::now();
      used();
    }
  }

 private:
  core::Status make_stalls() {
    for (unsigned i = 0; i < kStationsPerSlot; ++i) {
      const auto& pins = context_.config.slot_cpus;
      auto station =
          context_.cgroups.make_station(station_name(context_.index, i), context_.index < pins.size() ? pins[context_.index] : "");
      if (!station) return std::unexpected(station.error());
      stalls_[i] = std::make_unique<Stall>(std::move(*station), id_base_, context_.filter, context_.config.clock_start_s);
    }
    return {};
  }

  /// The slot cannot work here: every request is answered with the reason until the caller gives up.
  int refuse_all(const core::Error& error) {
    while (true) {
      auto message = receive_message(caller_.get());
      if (!message || message->bytes.empty()) return 0;
      if (message->bytes.front() == kRunMessage && !send_message(caller_.get(), encode_report(std::unexpected(error)))) return 0;
    }
  }

  core::Result<StepReport> run_step(Message& message) {
    StepFds fds;
    auto request = decode(message, fds);
    if (!request) return std::unexpected(request.error());
    if (request->input != StepInput::given && fds.stdin_memfd.valid())
      return core::error(core::ErrorKind::invalid, "a step with an input of its own has no stdin");
    const std::string image_root = image_directory(context_.run_directory, request->image);
    if (!is_image_root(image_root)) return core::error(core::ErrorKind::invalid, "unknown image: " + request->image);
    image_root_ = image_root;
    auto sandbox = current().ready(image_root_, request->limits);
    if (!sandbox) return std::unexpected(sandbox.error());
    limits_ = request->limits;
    is_used_ = true;
    if (auto placed = place_workspace(*request, (*sandbox)->init); !placed) return std::unexpected(placed.error());
    // Held from here on: what the program leaves is collected after the sandbox is dead.
    const core::Fd left(request->collect.empty() ? -1 : open(work_path((*sandbox)->init).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!request->collect.empty() && !left.valid()) return core::errno_error("open the workspace");
    // The next sandbox is made while this program runs, in groups of its own, unless requests come with pauses: then it is made in one,
    // and takes no time from this program. Starting a spawner would take too long here.
    const auto prepare_next = [&] {
      if (!paused_ && next().is_warm(image_root_))
        (void)next().prepare(image_root_, limits_);  // what fails here fails again, and is reported, when it is needed
    };
    auto outcome = supervise(current(), **sandbox, *request, fds, caller_.get(), prepare_next);
    if (!outcome) return std::unexpected(outcome.error());
    StepReport report;
    report.outcome = std::move(*outcome);
    if (left.valid()) {
      auto collected = collect(left.get(), request->collect, request->collect_bytes, id_base_ + 1);
      if (!collected) return std::unexpected(collected.error());
      report.collected = std::move(collected->tree);
      report.collect_truncated = collected->truncated;
    }
    return report;
  }

  static std::string work_path(pid_t init) { return "/proc/" + std::to_string(init) + "/root/work"; }

  core::Status place_workspace(const StepRequest& request, pid_t init) {
    if (request.keep_previous_workspace && workspace_.exists())
      if (auto shown = workspace_.show_to(init); !shown) return shown;
    workspace_.drop();
    return request.keep_workspace ? workspace_.keep(init) : core::Status{};
  }

  core::Result<StepRequest> decode(Message& message, StepFds& fds) {
    const auto refuse = [](const char* what) { return core::error(core::ErrorKind::invalid, what); };
    if (message.bytes.size() < kRunHeaderBytes) return refuse("truncated message");
    const bool is_inline = message.bytes[1] == kInlineRequest, has_stdin = message.bytes[2] != 0;
    const std::size_t fixed = 2U + !is_inline + has_stdin;
    if (message.fds.size() < fixed || message.fds.size() > fixed + kMaxTrees) return refuse("wrong number of descriptors");
    if (!std::all_of(message.fds.begin(), message.fds.end(), [](const core::Fd& fd) { return is_memfd(fd.get()); }))
      return refuse("a descriptor is not a memfd");
    auto fd = message.fds.begin();
    fds.stdout_memfd = std::move(*fd++);
    fds.stderr_memfd = std::move(*fd++);
    if (!is_inline) fds.request = std::move(*fd++);
    if (has_stdin) fds.stdin_memfd = std::move(*fd++);
    for (; fd != message.fds.end(); ++fd) fds.trees.push_back(std::move(*fd));
    for (const auto& tree : fds.trees)
      if (auto readable = TreeReader::open(tree.get()); !readable) return std::unexpected(readable.error());
    if (has_stdin && !is_sealed(fds.stdin_memfd)) return refuse("stdin is not sealed");
    if (is_inline) {
      fds.request_bytes = message.bytes.substr(kRunHeaderBytes);
      return checked(fds.request_bytes);
    }
    // Sealed, so that what the program's process reads later is what is checked here.
    if (!is_sealed(fds.request)) return refuse("the request is not sealed");
    struct stat info{};
    if (fstat(fds.request.get(), &info) != 0 || static_cast<std::uint64_t>(info.st_size) > kMaxRequestBytes)
      return refuse("the request is too large");
    auto bytes = read_all(fds.request.get());
    return bytes ? checked(*bytes) : std::unexpected(bytes.error());
  }

  core::Result<StepRequest> checked(std::string_view bytes) const {
    auto request = decode_request(bytes);
    if (!request) return request;
    if (auto allowed = check_request(*request, context_.config); !allowed) return std::unexpected(allowed.error());
    return request;
  }

  /// After a report.
  void used() {
    if (!std::exchange(is_used_, false)) return;  // refused before it came to that
    current().discard();
    turn_ = (turn_ + 1) % kStationsPerSlot;
  }

  /// While nobody waits: a sandbox is prepared, and nothing of earlier steps stays.
  core::Status tidy() {
    if (image_root_.empty() || !is_image_root(image_root_)) return next().clear();  // nothing tells what comes next
    if (auto prepared = current().prepare(image_root_, limits_); !prepared) return prepared;
    return next().clear();
  }

  /// Waits for the caller, and meanwhile finishes what tidy() began and lets go of images that are removed.
  void await_request() {
    pollfd entries[] = {{caller_.get(), POLLIN, 0}, {current().prepared_fd(), POLLIN, 0}};
    while (entries[0].revents == 0) {
      const int count = poll(entries, 2, kBetweenLooks);
      if (count < 0 && errno != EINTR) return;
      if (count == 0) {
        for (const auto& stall : stalls_)
          (void)stall->leave_gone_image();  // what fails here fails again, and is reported, when the stall is needed
        entries[1].fd = current().prepared_fd();
        continue;
      }
      if (entries[1].revents == 0) continue;
      (void)current().ready(image_root_, limits_);  // what fails here fails again, and is reported, when it is needed
      entries[1].fd = -1;
    }
  }

  std::string first_image_root() const {
    const auto& images = context_.config.images;
    return images.empty() ? "" : image_directory(context_.run_directory, images.front().name);
  }

  Stall& current() { return *stalls_[turn_]; }
  Stall& next() { return *stalls_[(turn_ + 1) % kStationsPerSlot]; }

  const SlotContext& context_;
  core::Fd caller_;
  std::uint32_t id_base_;
  Workspace workspace_;
  std::array<std::unique_ptr<Stall>, kStationsPerSlot> stalls_;
  unsigned turn_ = 0;
  std::string image_root_ = first_image_root();
  core::Limits limits_ = core::default_limits();  // of the last request: most often those of the next
  std::chrono::steady_clock::time_point reported_at_;
  bool is_used_ = false, paused_ = false;  // paused_: before the request that runs
};

}  // namespace

std::string station_name(unsigned slot, unsigned station) { return "slot" + std::to_string(slot) + static_cast<char>('a' + station); }

int run_slot(const SlotContext& context, core::Fd caller) {
  run_before_others();
  return SlotProcess(context, std::move(caller)).run();
}

}  // namespace bailiff::sandbox
