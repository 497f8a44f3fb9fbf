// A command beside a running program: it shares all that contains the program, ends with it, and its way in gives nothing away.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/sandbox/beside_step.h"
#include "tests/sandbox/calls.h"

namespace bailiff::sandbox::testing {
namespace {

using core::ErrorKind;
using core::Verdict;

constexpr const char* kWait = "echo ready; exec sleep 60";

/// The lines that must be the same for the program and for what runs beside it.
std::string shared_facts(const std::string& facts) {
  std::istringstream lines(facts);
  std::string shared;
  for (std::string line; std::getline(lines, line) && line != "ready";)
    if (!line.starts_with("PPid") && !line.starts_with("SigQ") && !line.starts_with("umask")) shared += line + "\n";
  return shared;
}

bool eventually(const std::function<bool()>& condition) {
  for (int tries = 0; tries < 10'000; ++tries) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The process of the sandbox with this name; -1 where there is none.
pid_t host_pid_of(Slot& slot, const std::string& name) {
  const auto seen = inspect(slot);
  if (seen)
    for (const auto& process : seen->processes)
      if (process.name == name) return process.host_pid;
  return -1;
}

TEST_F(SandboxTest, ExecSharesAllThatContainsTheProgram) {
  BesideStep step(slot(0), shell_step(victim({}), std::string("/work/victim facts; ") + kWait), "ready");
  const auto beside = run_beside(slot(0), victim_beside({"facts"}));
  EXPECT_EQ(beside.exit_code(), 0);
  EXPECT_EQ(shared_facts(beside.out), shared_facts(step.out()));
  for (const char* line : {"Uid:\t1000\t1000\t1000\t1000\n", "Gid:\t1000\t1000\t1000\t1000\n", "Groups:\t \n",
                           "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n",
                           "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
                           "TracerPid:\t0\n", "PPid:\t0\n", ":/\n", "1000\n", "root / cwd /work\n", "umask 22 nice 0 session 1\n"})
    EXPECT_TRUE(beside.out.contains(line)) << line << "in\n" << beside.out;
  EXPECT_TRUE(std::ranges::count(beside.out, '[') >= 10) << beside.out;  // ns links are there
}

TEST_F(SandboxTest, ExecIsInTheGroupsOfTheProgram) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  auto session = start_beside(slot(0), victim_beside({"hide_behind_a_name"}));
  ASSERT_TRUE(session) << session.error().what;
  const auto seen = inspect(slot(0));
  ASSERT_TRUE(seen) << seen.error().what;
  std::set<std::string> groups;
  for (const auto& process : seen->processes) groups.insert(text_of("/proc/" + std::to_string(process.host_pid) + "/cgroup"));
  EXPECT_EQ(seen->processes.size(), 3U);
  EXPECT_EQ(groups.size(), 1U);
  EXPECT_FALSE(groups.contains(text_of("/proc/self/cgroup")));
}

TEST_F(SandboxTest, ExecHasNothingElseOpenAndForbiddenCallsFail) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  for (const bool terminal : {false, true}) {
    auto request = victim_beside({"list_fds"});
    request.terminal = terminal;
    EXPECT_EQ(run_beside(slot(0), request).out, terminal ? "0 1 2 \r\n" : "0 1 2 \n");
  }
  for (auto* calls : {&namespace_calls, &mount_calls, &kernel_calls, &process_calls, &file_calls})
    expect_refused(run_beside(slot(0), victim_beside({"calls"}), script_of(calls())).out, calls());
}

TEST_F(SandboxTest, ExecThroughPipes) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  const std::string large(300'000, 'x');
  EXPECT_EQ(run_beside(slot(0), shell_beside("wc -c"), large).out, "300000\n");
  const std::string bytes("in\0put\xff", 7);
  const auto both = run_beside(slot(0), shell_beside("cat; echo err >&2; echo again >/dev/stderr; exit 7"), bytes);
  EXPECT_EQ(both.out, bytes);
  EXPECT_EQ(both.err, "err\nagain\n");
  EXPECT_EQ(both.exit_code(), 7);
  EXPECT_EQ(run_beside(slot(0), shell_beside("kill -SEGV $$")).end->signal, SIGSEGV);
}

TEST_F(SandboxTest, ExecOnATerminal) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  auto request = victim_beside({"terminal"});
  request.terminal = true;
  request.rows = 33;
  request.columns = 99;
  EXPECT_EQ(run_beside(slot(0), request).out, "111 /dev/pts/0 33 99 foreground 1 own 1\r\n");

  auto resized = shell_beside("trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.05; done");
  resized.terminal = true;
  auto session = start_beside(slot(0), resized);
  ASSERT_TRUE(session) << session.error().what;
  std::string first(7, '\0');
  for (std::size_t got = 0; got < first.size();) {
    const auto n = read(session->input.get(), first.data() + got, first.size() - got);
    ASSERT_GT(n, 0);
    got += static_cast<std::size_t>(n);
  }
  EXPECT_EQ(first, "ready\r\n");
  const winsize size{44, 111, 0, 0};
  EXPECT_EQ(ioctl(session->input.get(), TIOCSWINSZ, &size), 0);
  const auto ended = collect(std::move(*session));
  EXPECT_EQ(ended.out, "44 111\r\n");
  EXPECT_EQ(ended.exit_code(), 5);

  auto interrupted = victim_beside({"sleep", "60000"});
  interrupted.terminal = true;
  EXPECT_EQ(run_beside(slot(0), interrupted, "\x03").end->signal, SIGINT);
}

TEST_F(SandboxTest, ExecEndsWithTheProgram) {
  BesideStep step(slot(0), shell_step(victim({}), "echo ready; while [ ! -e /tmp/stop ]; do sleep 0.01; done"), "ready");
  auto stubborn = shell_beside("trap '' HUP TERM INT; echo here; (sleep 1000 &) ; while :; do sleep 1000; done");
  for (const bool terminal : {false, true}) {
    stubborn.terminal = terminal;
    auto session = start_beside(slot(0), stubborn);
    ASSERT_TRUE(session) << session.error().what;
    if (!terminal) continue;  // this one's caller is gone before the program is
    (void)run_beside(slot(0), shell_beside("touch /tmp/stop"));  // which may see its own end before it ends
    const auto ended = collect(std::move(*session));
    EXPECT_EQ(ended.end->signal, SIGKILL);
  }
  const auto report = step.finish();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, Verdict::ok) << report->outcome.message;
}

TEST_F(SandboxTest, ExecEndsWhenItsCallerHangsUp) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  auto session = start_beside(slot(0), victim_beside({"hide_behind_a_name"}));
  ASSERT_TRUE(session) << session.error().what;
  ASSERT_TRUE(eventually([] { return host_pid_of(slot(0), "a\n\x1b[2J\xff)") > 0; }));
  session->control.reset();
  EXPECT_TRUE(eventually([] { return host_pid_of(slot(0), "a\n\x1b[2J\xff)") < 0; }));
  EXPECT_EQ(run_beside(slot(0), victim_beside({"exit", "3"})).exit_code(), 3);
}

TEST_F(SandboxTest, CancelWhileExecIsOpenAndNobodyReadsIt) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  std::vector<core::Result<ExecSession>> sessions;
  for (int i = 0; i < 3; ++i) sessions.push_back(start_beside(slot(0), victim_beside({"write_forever"})));
  for (const auto& session : sessions) ASSERT_TRUE(session) << session.error().what;
  const auto report = step.cancel();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, Verdict::cancelled);
  for (auto& session : sessions) EXPECT_EQ(collect(std::move(*session)).end->signal, SIGKILL);
}

TEST_F(SandboxTest, WhatExecUsesIsTheSteps) {
  {
    BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
    EXPECT_EQ(run_beside(slot(0), victim_beside({"spin", "300"})).exit_code(), 0);
    const auto report = step.cancel();
    ASSERT_TRUE(report);
    EXPECT_GE(report->outcome.usage.cpu_us, 300'000U);
    EXPECT_LT(report->outcome.usage.cpu_us, 600'000U);
  }
  {
    BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
    EXPECT_EQ(run_beside(slot(0), victim_beside({"spin_forever"})).end->signal, SIGKILL);
    const auto report = step.finish();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->outcome.verdict, Verdict::time_limit_exceeded);
  }
  {
    BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
    EXPECT_EQ(run_beside(slot(0), victim_beside({"allocate", "200"})).end->signal, SIGKILL);
    const auto report = step.finish();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->outcome.verdict, Verdict::memory_limit_exceeded);
  }
}

TEST_F(SandboxTest, ExecIsRefusedWhereItCannotBe) {
  const auto idle = start_beside(slot(0), victim_beside({"exit", "0"}));
  ASSERT_FALSE(idle);
  EXPECT_EQ(idle.error().kind, ErrorKind::conflict) << idle.error().what;
  {
    BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
    for (const char* missing : {"/no/such", "no-such-command", "/etc/passwd", "/tmp"}) {
      auto request = shell_beside("");
      request.argv = {missing};
      const auto refused = start_beside(slot(0), request);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().kind, ErrorKind::invalid) << refused.error().what;
      EXPECT_TRUE(refused.error().what.starts_with("cannot execute " + std::string(missing) + ": ")) << refused.error().what;
    }
    for (const std::vector<std::string>& argv : {std::vector<std::string>{}, {""}, {std::string("a\0b", 3)}}) {
      ExecRequest request;
      request.argv = argv;
      const auto refused = start_beside(slot(0), request);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().kind, ErrorKind::invalid);
    }
    std::vector<core::Result<ExecSession>> sessions;
    for (std::size_t i = 0; i < kMaxExecs; ++i) sessions.push_back(start_beside(slot(0), victim_beside({"sleep", "60000"})));
    for (const auto& session : sessions) EXPECT_TRUE(session) << session.error().what;
    const auto refused = start_beside(slot(0), victim_beside({"exit", "0"}));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
    sessions.clear();
    EXPECT_TRUE(eventually([] { return start_beside(slot(0), victim_beside({"exit", "0"})).has_value(); }));
  }
  auto alone = shell_step(victim({}), kWait);
  alone.limits.processes = 1;
  BesideStep step(slot(0), std::move(alone), "ready");
  const auto refused = start_beside(slot(0), victim_beside({"exit", "0"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable) << refused.error().what;
}

TEST_F(SandboxTest, ExecStandsStillWithThePausedProgram) {
  BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
  auto session = start_beside(slot(0), shell_beside("while read line; do echo $line; done"));
  ASSERT_TRUE(session) << session.error().what;
  const auto answer_in = [&](int at_most_ms) {
    EXPECT_EQ(write(session->input.get(), "x\n", 2), 2);
    pollfd entry{session->output.get(), POLLIN, 0};
    char bytes[16];
    return poll(&entry, 1, at_most_ms) == 1 && read(session->output.get(), bytes, sizeof bytes) > 0;
  };
  EXPECT_TRUE(answer_in(60'000));
  ASSERT_TRUE(slot(0).pause());
  const auto refused = start_beside(slot(0), victim_beside({"exit", "0"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict) << refused.error().what;
  EXPECT_TRUE(inspect(slot(0)));
  EXPECT_FALSE(answer_in(50));
  ASSERT_TRUE(slot(0).resume());
  EXPECT_TRUE(answer_in(60'000));
  ASSERT_TRUE(slot(0).pause());
  EXPECT_EQ(step.cancel()->outcome.verdict, Verdict::cancelled);
  EXPECT_EQ(collect(std::move(*session)).end->signal, SIGKILL);
}

TEST_F(SandboxTest, TheWayInGivesNothingAway) {
  auto request = victim({"ambush"});
  request.limits.cpu_time_us = 60'000'000;
  request.limits.wall_time_us = 120'000'000;
  BesideStep step(slot(0), std::move(request), "ready");
  for (int i = 0; i < 80; ++i) {
    auto one = victim_beside({"exit", "7"});
    one.terminal = i % 4 == 3;
    ASSERT_EQ(run_beside(slot(0), one).exit_code(), 7) << i;
  }
  (void)run_beside(slot(0), shell_beside("touch /tmp/stop"));
  const auto report = step.finish();
  ASSERT_TRUE(report) << report.error().what;
  int seen = 0, caught = 0;
  ASSERT_EQ(std::sscanf(step.out().c_str(), "ready\nseen %d caught %d", &seen, &caught), 2) << step.out();
  EXPECT_GT(seen, 0);
  EXPECT_GT(caught, 0) << "no process was stopped on its way in: the attack was never tried";
  EXPECT_TRUE(step.out().ends_with(" breaches\n")) << step.out();
}

TEST_F(SandboxTest, ExecDiesWithItsSlot) {
  pid_t beside = -1;
  {
    BesideStep step(slot(0), shell_step(victim({}), kWait), "ready");
    auto session = start_beside(slot(0), victim_beside({"hide_behind_a_name"}));
    ASSERT_TRUE(session) << session.error().what;
    ASSERT_TRUE(eventually([&] { return (beside = host_pid_of(slot(0), "a\n\x1b[2J\xff)")) > 0; }));
    const auto seen = inspect(slot(0));
    ASSERT_TRUE(seen) << seen.error().what;
    const std::string status = text_of("/proc/" + std::to_string(seen->processes.at(0).host_pid) + "/status");
    const pid_t slot_process = std::stoi(status.substr(status.find("PPid:") + 5));
    ASSERT_GT(slot_process, 1);
    ASSERT_EQ(kill(slot_process, SIGKILL), 0);
    EXPECT_FALSE(step.finish());
    (void)collect(std::move(*session));
  }
  EXPECT_TRUE(eventually([&] { return access(("/proc/" + std::to_string(beside)).c_str(), F_OK) != 0; }));
  auto replacement = launcher().next_slot();
  ASSERT_TRUE(replacement) << replacement.error().what;
  slot(replacement->index()) = std::move(*replacement);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(victim({"exit", "0"}), 0).verdict(), Verdict::ok);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
