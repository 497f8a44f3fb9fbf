#include "tests/sandbox/beside_step.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace bailiff::sandbox::testing {
namespace {

constexpr int kAtMostMs = 60'000;

/// One read. False at the end (EIO is a terminal's).
bool read_into(std::string& text, core::Fd& fd) {
  char bytes[65536];
  const ssize_t n = read(fd.get(), bytes, sizeof bytes);
  if (n > 0) text.append(bytes, static_cast<std::size_t>(n));
  else fd.reset();
  return n > 0;
}

bool answered(const core::Fd& fd) {
  pollfd entry{fd.get(), POLLIN, 0};
  return poll(&entry, 1, kAtMostMs) == 1;
}

}  // namespace

BesideStep::BesideStep(Slot& slot, StepRequest request, const std::string& until) : slot_(slot), request_(std::move(request)) {
  request_.stdout_fd = std::move(*output_memfd());
  request_.stderr_fd = std::move(*output_memfd());
  const auto started = slot_.start(request_);
  EXPECT_TRUE(started) << started.error().what;
  for (int tries = 0; tries < 10'000 && !out().contains(until); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_TRUE(out().contains(until));
}

BesideStep::~BesideStep() {
  if (running_) (void)cancel();
}

std::string BesideStep::out() const { return read_all(request_.stdout_fd.get()).value_or(""); }

core::Result<StepReport> BesideStep::finish() {
  running_ = false;
  return slot_.finish();
}

core::Result<StepReport> BesideStep::cancel() {
  EXPECT_TRUE(slot_.cancel());
  return finish();
}

Exec collect(ExecSession session, const std::string& input) {
  Exec exec;
  EXPECT_EQ(write(session.input.get(), input.data(), input.size()), static_cast<ssize_t>(input.size()));
  const bool terminal = !session.output.valid();
  if (terminal) {
    while (answered(session.input) && read_into(exec.out, session.input)) {}
  } else {
    session.input.reset();
    while (session.output.valid() || session.errors.valid()) {
      pollfd entries[] = {{session.output.get(), POLLIN, 0}, {session.errors.get(), POLLIN, 0}};
      if (poll(entries, 2, kAtMostMs) <= 0) break;
      if (entries[0].revents != 0) read_into(exec.out, session.output);
      if (entries[1].revents != 0) read_into(exec.err, session.errors);
    }
  }
  if (answered(session.control)) exec.end = take_exec_end(session.control);
  EXPECT_TRUE(exec.end) << exec.end.error().what;
  return exec;
}

core::Result<ExecSession> start_beside(Slot& slot, const ExecRequest& request) {
  auto answer = slot.ask_exec(request);
  if (!answer) return std::unexpected(answer.error());
  if (!answered(*answer)) return core::error(core::ErrorKind::internal, "no answer in time");
  return take_exec(std::move(*answer));
}

Exec run_beside(Slot& slot, ExecRequest request, const std::string& input) {
  auto session = start_beside(slot, request);
  EXPECT_TRUE(session) << session.error().what;
  return session ? collect(std::move(*session), input) : Exec{};
}

StepRequest shell_step(StepRequest from, const std::string& script) {
  from.argv = {"/bin/sh", "-c", script};
  from.limits.wall_time_us = 60'000'000;
  return from;
}

ExecRequest victim_beside(std::vector<std::string> words) {
  words.insert(words.begin(), "/work/victim");
  ExecRequest request;
  request.argv = std::move(words);
  return request;
}

ExecRequest shell_beside(const std::string& script) {
  ExecRequest request;
  request.argv = {"sh", "-c", script};
  request.env = {"PATH=/usr/bin:/bin", "TERM=dumb"};
  return request;
}

core::Result<Inspection> inspect(Slot& slot) {
  auto answer = slot.ask_inspection();
  if (!answer) return std::unexpected(answer.error());
  if (!answered(*answer)) return core::error(core::ErrorKind::internal, "no answer in time");
  return take_inspection(*answer);
}

}  // namespace bailiff::sandbox::testing
