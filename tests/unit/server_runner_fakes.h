#pragma once
// Slots without a sandbox: each "runs" a step by asking a function of the test's, at once or when the test says so.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "images/catalogue.h"
#include "sandbox/socket.h"
#include "sandbox/tree.h"
#include "server/runner.h"
#include "server/slot_pool.h"

namespace bailiff::server::testing {

using Report = core::Result<sandbox::StepReport>;

inline core::Fd make_event() { return core::Fd(::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)); }
inline void raise_event(const core::Fd& fd) {
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(fd.get(), &one, sizeof one), ssize_t{sizeof one});
}
inline void take_event(const core::Fd& fd) {
  std::uint64_t value = 0;
  ASSERT_EQ(::read(fd.get(), &value, sizeof value), ssize_t{sizeof value});
}

inline sandbox::StepReport report_of(core::Verdict verdict, std::optional<int> exit_code = std::nullopt) {
  sandbox::StepReport report;
  report.outcome.verdict = verdict;
  report.outcome.exit_code = verdict == core::Verdict::ok ? 0 : exit_code;
  return report;
}
inline Report dead_slot() { return core::error(core::ErrorKind::unavailable, "the slot died"); }

inline void print(const sandbox::StepRequest& request, std::string_view text) {
  ASSERT_EQ(::write(request.stdout_fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}
inline std::string stdin_of(const sandbox::StepRequest& request) {
  return request.stdin_fd.valid() ? sandbox::read_all(request.stdin_fd.get()).value_or("unreadable") : "";
}

/// What a step of the fakes was asked for, kept after its end.
struct Seen {
  unsigned slot = 0;
  std::vector<std::string> argv;
  std::string stdin_bytes;
  core::Limits limits{};
  bool keep_previous = false, keep = false, collect = false;
  std::size_t trees = 0;
};

class FakeSlots;

class FakeSlot final : public SlotPort {
 public:
  FakeSlot(unsigned index, FakeSlots& owner) : index_(index), owner_(owner), event_(make_event()) {}
  ~FakeSlot() override;
  [[nodiscard]] unsigned index() const override { return index_; }
  [[nodiscard]] int fd() const override { return event_.get(); }
  core::Status start(const sandbox::StepRequest& request) override;
  core::Status cancel() override {
    if (pending_) end(report_of(core::Verdict::cancelled));
    return {};
  }
  core::Status drop_workspace() override;
  core::Status pause() override {
    ++pauses;
    return {};
  }
  core::Status resume() override {
    ++resumes;
    return {};
  }
  core::Result<core::Fd> ask_inspection() override;
  core::Result<core::Fd> ask_exec(const sandbox::ExecRequest& request) override;
  Report finish() override {
    take_event(event_);
    if (!report_) return dead_slot();
    auto report = std::move(*report_);
    report_.reset();
    return report;
  }
  void end(Report report) {
    pending_ = false;
    report_ = std::move(report);
    raise_event(event_);
  }
  /// As a process that is killed: readable, nothing but end-of-file behind it.
  void die() {
    pending_ = false;
    raise_event(event_);
  }
  int pauses = 0, resumes = 0;  // as the slot was told

 private:
  unsigned index_;
  FakeSlots& owner_;
  core::Fd event_;
  bool pending_ = false;
  std::optional<Report> report_;
};

/// The launcher's place. `behave` answers a step; nothing: it runs until end(), die() or cancel().
class FakeSlots final : public SlotSource {
 public:
  using Behaviour = std::function<std::optional<Report>(const sandbox::StepRequest&, unsigned slot)>;
  explicit FakeSlots(Behaviour behaviour) : behave(std::move(behaviour)), event_(make_event()) {}
  [[nodiscard]] int fd() const override { return event_.get(); }
  core::Result<std::unique_ptr<SlotPort>> next_slot() override {
    take_event(event_);
    if (announced_.empty()) return core::error(core::ErrorKind::unavailable, "the launcher is gone");
    auto slot = std::move(announced_.front());
    announced_.pop_front();
    return slot;
  }
  void announce(unsigned index) {
    auto slot = std::make_unique<FakeSlot>(index, *this);
    live[index] = slot.get();
    announced_.push_back(std::move(slot));
    raise_event(event_);
  }
  void die() { raise_event(event_); }
  /// What is asked beside a step is answered with `reply` (and a descriptor of our stdin); empty: with end-of-file.
  core::Result<core::Fd> ask() const {
    auto sockets = sandbox::socket_pair();
    if (!sockets) return std::unexpected(sockets.error());
    EXPECT_TRUE(reply.empty() || sandbox::send_message(sockets->second.get(), reply, {0}));
    return std::move(sockets->first);
  }

  std::string reply;
  Behaviour behave;
  std::vector<Seen> seen;
  std::size_t dropped_workspaces = 0;
  std::map<unsigned, FakeSlot*> live;

 private:
  core::Fd event_;
  std::deque<std::unique_ptr<FakeSlot>> announced_;
};

inline FakeSlot::~FakeSlot() {
  if (owner_.live[index_] == this) owner_.live.erase(index_);
}

inline core::Status FakeSlot::drop_workspace() {
  ++owner_.dropped_workspaces;
  return {};
}

inline core::Result<core::Fd> FakeSlot::ask_inspection() { return owner_.ask(); }
inline core::Result<core::Fd> FakeSlot::ask_exec(const sandbox::ExecRequest&) { return owner_.ask(); }

inline core::Status FakeSlot::start(const sandbox::StepRequest& request) {
  owner_.seen.push_back({index_, request.argv, stdin_of(request), request.limits, request.keep_previous_workspace, request.keep_workspace,
                         !request.collect.empty(), request.trees.size()});
  if (auto report = owner_.behave(request, index_)) end(std::move(*report));
  else pending_ = true;
  return {};
}

/// Runs the loop until `done`; a test that hangs fails instead.
inline void run_until(boost::asio::io_context& io, const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "nothing happened in time";
    if (io.stopped()) io.restart();
    io.run_one_for(std::chrono::milliseconds(200));
  }
}

template <class T>
T wait_for(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  std::optional<T> answer;
  boost::asio::co_spawn(
      io,
      [](boost::asio::awaitable<T> inner, std::optional<T>& out) -> boost::asio::awaitable<void> {
        out.emplace(co_await std::move(inner));
      }(std::move(work), answer),
      boost::asio::detached);
  run_until(io, [&]() { return answer.has_value(); });
  return std::move(*answer);
}

/// Two languages: `int` is interpreted, `comp` is compiled; and the image "host".
inline images::Catalogue small_catalogue() {
  namespace fs = std::filesystem;
  const fs::path directory = fs::path(::testing::TempDir()) / ("bailiff-languages-" + std::to_string(::getpid()));
  fs::create_directories(directory);
  std::ofstream(directory / "int.toml") << "name = \"int\"\ntitle = \"I\"\nsource_file = \"main.int\"\nrun = [\"int\", \"main.int\"]\n"
                                           "version_command = [\"int\"]\nhello = \"x\"\n[limits]\nopen_files = 77\n";
  std::ofstream(directory / "comp.toml")
      << "name = \"comp\"\ntitle = \"C\"\nsource_file = \"main.comp\"\ncompile = [\"compile\"]\nrun = [\"./main\"]\n"
         "version_command = [\"compile\"]\nhello = \"x\"\n";
  auto catalogue =
      images::Catalogue::load(directory.string(), {{"host", "sha256:00", "host", ""}}, [](const auto&) { return std::string("1"); });
  fs::remove_all(directory);
  if (!catalogue) throw std::runtime_error(catalogue.error().what);
  return std::move(*catalogue);
}

}  // namespace bailiff::server::testing
