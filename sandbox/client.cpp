#include "sandbox/client.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "sandbox/cgroup_driver.h"
#include "sandbox/launcher.h"
#include "sandbox/message.h"
#include "sandbox/rootless.h"
#include "sandbox/socket.h"
#include "sandbox/wire.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kImageTime(60);

std::string beside_this_program(const char* name) {
  std::string path(4096, '\0');
  const ssize_t n = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return path.substr(0, path.rfind('/') + 1) + name;
}

[[noreturn]] void exec_launcher(const std::string& path, int socket, int images) {
  // With the caller's death the launcher reads end-of-file; the signal covers a caller that dies between fork and here.
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  // A session of its own: a terminal's interrupt is for the caller, who then ends the launcher in order.
  (void)setsid();
  // The caller's sockets may be descriptors 3 and 4 already, which dup2 would leave close-on-exec or overwrite.
  const int socket_copy = fcntl(socket, F_DUPFD, kImageSocket + 1), images_copy = fcntl(images, F_DUPFD, kImageSocket + 1);
  if (socket_copy < 0 || images_copy < 0 || dup2(socket_copy, kLauncherSocket) < 0 || dup2(images_copy, kImageSocket) < 0 ||
      close_range(kImageSocket + 1, ~0U, 0) != 0)
    _exit(126);
  char* const argv[] = {const_cast<char*>("bailiff-launcher"), nullptr};
  char* const envp[] = {nullptr};
  execve(path.c_str(), argv, envp);
  _exit(127);
}

core::Error gone(const char* who) { return {core::ErrorKind::unavailable, std::string(who) + " is gone", 0}; }

}  // namespace

core::Status Slot::start(const StepRequest& request) {
  if (request.stdin_fd.valid() && request.input != StepInput::given)
    return core::error(core::ErrorKind::invalid, "a step with an input of its own has no stdin");
  if (!request.stdout_fd.valid() || !request.stderr_fd.valid() || request.trees.size() > kMaxTrees)
    return core::error(core::ErrorKind::invalid, "a step needs both output memfds and at most kMaxTrees trees");
  std::string message = {kRunMessage, kInlineRequest, static_cast<char>(request.stdin_fd.valid())};
  const std::string encoded = encode_request(request);
  std::vector<int> fds = {request.stdout_fd.get(), request.stderr_fd.get()};
  core::Fd large;
  if (encoded.size() <= kMaxInlineRequestBytes) {
    message += encoded;
  } else {
    auto sealed = sealed_memfd(encoded);
    if (!sealed) return std::unexpected(sealed.error());
    large = std::move(*sealed);
    message[1] = kMemfdRequest;
    fds.push_back(large.get());
  }
  if (request.stdin_fd.valid()) fds.push_back(request.stdin_fd.get());
  for (const auto& tree : request.trees) fds.push_back(tree.get());
  keeps_workspace_ = request.keep_workspace;
  return send_message(socket_.get(), message, fds);
}

core::Status Slot::drop_workspace() {
  if (!std::exchange(keeps_workspace_, false)) return {};
  return send_message(socket_.get(), {&kDropMessage, 1});
}

core::Status Slot::cancel() { return send_message(socket_.get(), {&kCancelMessage, 1}); }

core::Status Slot::pause() { return send_message(socket_.get(), {&kPauseMessage, 1}); }
core::Status Slot::resume() { return send_message(socket_.get(), {&kResumeMessage, 1}); }
core::Status Slot::tell_output() { return send_message(socket_.get(), {&kTellOutputMessage, 1}); }

std::optional<Notice> Slot::take_notice() {
  char type = 0;
  if (recv(socket_.get(), &type, 1, MSG_PEEK | MSG_DONTWAIT) != 1) return std::nullopt;
  if (type != kOutputNoticeMessage && type != kInputNoticeMessage) return std::nullopt;
  auto message = receive_message(socket_.get());
  Notice notice;
  if (message && type == kInputNoticeMessage && !message->fds.empty()) notice.input = std::move(message->fds.front());
  return notice;
}

core::Result<StepReport> Slot::finish() {
  auto message = receive_message(socket_.get());
  if (!message || message->bytes.empty()) return std::unexpected(gone("the slot"));
  auto report = decode_report(message->bytes);
  if (report && !message->fds.empty()) report->collected = std::move(message->fds.front());
  return report;
}

core::Result<StepReport> Slot::run(const StepRequest& request) {
  if (auto started = start(request); !started) return std::unexpected(started.error());
  return finish();
}

core::Result<Launcher> Launcher::start(const LauncherConfig& config) {
  const std::string path = config.launcher_path.empty() ? beside_this_program("bailiff-launcher") : config.launcher_path;
  if (access(path.c_str(), X_OK) != 0) return core::errno_error("cannot start the launcher " + path);
  if (geteuid() != 0)
    return core::error(core::ErrorKind::unavailable,
                       "the launcher needs root. Without it: " + rootless_verdict(probe_rootless(this_account())));
  auto choice = choose_cgroup_driver(config.cgroup_driver);
  if (!choice) return std::unexpected(choice.error());
  auto sockets = socket_pair(), images = socket_pair();
  if (!sockets || !images) return std::unexpected(sockets ? images.error() : sockets.error());
  const pid_t pid = fork();
  if (pid < 0) return core::errno_error("fork");
  if (pid == 0) exec_launcher(path, sockets->second.get(), images->second.get());
  Launcher launcher(pid, std::move(sockets->first), std::move(images->first));
  sockets->second.reset();
  images->second.reset();
  launcher.cgroup_driver_ = choice->driver;
  launcher.cgroup_driver_reason_ = choice->why;
  // While it waits for its configuration it has neither groups nor children.
  if (choice->systemd)
    if (auto moved = choice->systemd->start_scope(pid); !moved) return std::unexpected(moved.error());
  LauncherConfig settled = config;
  settled.cgroup_driver = choice->driver;
  if (auto sent = send_message(launcher.fd(), encode_config(settled)); !sent) return std::unexpected(sent.error());
  // The first announcement (or refusal) is left for next_slot(), but no one is told "started" before it is there.
  char type = 0;
  if (recv(launcher.fd(), &type, 1, MSG_PEEK) != 1) return std::unexpected(gone("the launcher"));
  if (type == kErrorMessage) {
    auto refused = launcher.next_slot();
    if (!refused) return std::unexpected(refused.error());
  }
  return launcher;
}

Launcher& Launcher::operator=(Launcher&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(socket_, other.socket_);
  std::swap(cgroup_driver_, other.cgroup_driver_);
  std::swap(cgroup_driver_reason_, other.cgroup_driver_reason_);
  std::swap(images_, other.images_);
  return *this;
}

Launcher::~Launcher() {
  if (!socket_.valid()) return;  // moved from
  socket_.reset();
  (void)waitpid(pid_, nullptr, 0);
}

core::Result<Slot> Launcher::next_slot() {
  auto message = receive_message(socket_.get());
  if (!message || message->bytes.empty()) return std::unexpected(gone("the launcher"));
  WireReader in(message->bytes);
  const auto type = in.take<char>();
  if (type == kErrorMessage) return core::error(core::ErrorKind::unavailable, in.take_string());
  const auto index = in.take<std::uint32_t>();
  if (type != kSlotMessage || !in.complete() || message->fds.size() != 1) return std::unexpected(gone("a sane launcher"));
  return Slot(index, std::move(message->fds.front()));
}

core::Status Launcher::add_image(const std::string& name) { return tell_image(kAddImageMessage, name); }
core::Status Launcher::remove_image(const std::string& name) { return tell_image(kRemoveImageMessage, name); }

core::Status Launcher::tell_image(char what, const std::string& name) {
  WireWriter out;
  out.put(what);
  out.put_string(name);
  if (auto sent = send_message(images_.get(), out.bytes()); !sent) return sent;
  if (!wait_readable(images_.get(), kImageTime)) {
    images_.reset();  // a late answer must not be taken for the next one
    return core::error(core::ErrorKind::unavailable, "the launcher does not answer about an image");
  }
  auto message = receive_message(images_.get());
  if (!message || message->bytes.empty()) return std::unexpected(gone("the launcher"));
  WireReader in(message->bytes);
  const auto kind = static_cast<core::ErrorKind>(std::min<std::uint32_t>(in.take<std::uint32_t>(), 4));
  auto why = in.take_string();
  if (!in.complete()) return std::unexpected(gone("a sane launcher"));
  if (!why.empty()) return core::error(kind, std::move(why));
  return {};
}

}  // namespace bailiff::sandbox
