#include "cli/local_sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "cli/interrupt_watch.h"
#include "sandbox/tree.h"

namespace bailiff::cli {
namespace {

using Clock = std::chrono::steady_clock;

core::StepResult cancelled_step(std::string name) {
  core::StepResult step;
  step.name = std::move(name);
  step.outcome.verdict = core::Verdict::cancelled;
  return step;
}

}  // namespace

Failure sandbox_failure(const core::Error& error) {
  return Failure{kExitInternal, "the sandbox failed: " + error.what, "`bailiff doctor` tells what this machine lacks", nullptr};
}

sandbox::StepRequest tool_request(const images::Language& language, const std::vector<std::string>& argv) {
  auto variables = images::base_environment();
  for (const auto& [name, value] : language.env) variables[name] = value;
  sandbox::StepRequest step;
  step.image = language.image;
  step.argv = argv;
  for (const auto& [name, value] : variables) step.env.push_back(name + "=" + value);
  step.limits = core::apply(core::default_limits(), language.compile_limits);
  return step;
}

sandbox::StepRequest program_request(const images::Language& language) {
  auto step = tool_request(language, language.run);
  step.limits = core::apply(images::scaled(core::default_limits(), language), language.limits);
  return step;
}

Expected<LocalSlot> LocalSlot::start(const std::vector<std::string>& images, sandbox::CgroupDriver driver,
                                     const std::string& images_directory) {
  sandbox::LauncherConfig config;
  config.images_directory = images_directory;
  for (const std::string& image : images) {
    if (image.starts_with(images::kContentPrefix)) continue;
    const bool directory = image.starts_with('/');
    config.images.push_back({image, directory ? sandbox::Image::Kind::directory : sandbox::Image::Kind::host, directory ? image : ""});
  }
  // Apart from a server on the same machine and from other runs: user ids by our pid, above those that a server's slots use.
  config.cgroup_parent = "bailiff-run";
  config.cgroup_driver = driver;
  config.uid_base = 0x50000000U + static_cast<std::uint32_t>(::getpid() % 4096) * 65536U;
  auto launcher = sandbox::Launcher::start(config);
  if (!launcher) return std::unexpected(sandbox_failure(launcher.error()));
  for (const std::string& image : images)
    if (image.starts_with(images::kContentPrefix))
      if (auto added = launcher->add_image(image); !added) return std::unexpected(sandbox_failure(added.error()));
  auto slot = launcher->next_slot();
  if (!slot) return std::unexpected(sandbox_failure(slot.error()));
  return LocalSlot(std::move(*launcher), std::move(*slot));
}

Expected<core::StepResult> LocalSlot::step(std::string name, sandbox::StepRequest request) {
  auto out = sandbox::output_memfd(), err = sandbox::output_memfd();
  if (!out || !err) return std::unexpected(sandbox_failure(!out ? out.error() : err.error()));
  const core::Fd out_copy(::fcntl(out->get(), F_DUPFD_CLOEXEC, 3)), err_copy(::fcntl(err->get(), F_DUPFD_CLOEXEC, 3));
  request.stdout_fd = std::move(*out);
  request.stderr_fd = std::move(*err);

  const InterruptWatch interrupts;
  if (auto started = slot_.start(request); !started) return std::unexpected(sandbox_failure(started.error()));
  const Expected<bool> interrupted = await(interrupts, request.limits);
  if (!interrupted) return std::unexpected(interrupted.error());
  auto report = slot_.finish();
  if (!report && *interrupted) return cancelled_step(std::move(name));  // Ctrl-C reached the launcher as well
  if (!report) return std::unexpected(sandbox_failure(report.error()));
  auto stdout_bytes = sandbox::read_all(out_copy.get()), stderr_bytes = sandbox::read_all(err_copy.get());
  if (!stdout_bytes || !stderr_bytes) return std::unexpected(sandbox_failure(!stdout_bytes ? stdout_bytes.error() : stderr_bytes.error()));
  return core::StepResult{std::move(name), std::move(report->outcome), std::move(*stdout_bytes), std::move(*stderr_bytes)};
}

/// Until the report waits. True when the step was cancelled by a signal.
Expected<bool> LocalSlot::await(const InterruptWatch& interrupts, const core::Limits& limits) {
  // The slot ends the program by itself; the margin is for its set-up and clean-up on a machine that is very busy.
  const auto deadline = Clock::now() + std::chrono::microseconds(limits.wall_time_us) + std::chrono::minutes(2);
  bool interrupted = false;
  while (Clock::now() < deadline) {
    pollfd waits[] = {{slot_.fd(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (::poll(waits, 2, static_cast<int>(std::max<std::int64_t>(left, 0))) <= 0) continue;
    if (waits[0].revents != 0) return interrupted;
    (void)interrupts.take();
    interrupted = true;
    if (auto sent = slot_.cancel(); !sent) return true;
  }
  return std::unexpected(sandbox_failure({core::ErrorKind::internal, "its slot does not answer", 0}));
}

}  // namespace bailiff::cli
