#include "tests/system/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace bailiff::system_tests {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr auto kStartTime = std::chrono::seconds(60);

int milliseconds_until(steady_clock::time_point end) {
  return static_cast<int>(std::max<long>(0, std::chrono::duration_cast<milliseconds>(end - steady_clock::now()).count()));
}

/// The URL from the one line on stdout; empty when it does not come.
std::string read_url(int fd) {
  const auto end = steady_clock::now() + kStartTime;
  std::string text;
  while (text.find('\n') == std::string::npos) {
    pollfd ready{fd, POLLIN, 0};
    char bytes[256];
    if (::poll(&ready, 1, milliseconds_until(end)) <= 0) return "";
    const auto got = ::read(fd, bytes, sizeof bytes);
    if (got <= 0) return "";
    text.append(bytes, static_cast<std::size_t>(got));
  }
  const std::string_view start = "listening on ";
  return text.starts_with(start) ? text.substr(start.size(), text.find('\n') - start.size()) : "";
}

}  // namespace

bool eventually(const std::function<bool()>& condition, milliseconds at_most) {
  const auto end = steady_clock::now() + at_most;
  while (!condition()) {
    if (steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

ServerProcess::ServerProcess(const std::string& data, const std::string& log, const std::string& cgroup,
                             const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {BAILIFFD_PATH, "--data", data, "--cgroup-parent", cgroup, "--languages", LANGUAGES_PATH};
  if (std::ranges::find(arguments, "--listen") == arguments.end()) all.insert(all.end(), {"--listen", "127.0.0.1:0"});
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2] = {-1, -1};
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0 || ::pipe2(ends, O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(ends[1], 1);
    ::dup2(log_fd, 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ::close(log_fd);
  url_ = read_url(ends[0]);
  ::close(ends[0]);
}

ServerProcess::~ServerProcess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

pid_t ServerProcess::launcher() const {
  const auto children = children_of(pid_);
  return children.size() == 1 ? *children.begin() : -1;
}

void ServerProcess::signal(int number) const { ::kill(pid_, number); }

std::optional<int> ServerProcess::wait_for_end(milliseconds at_most) {
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{handle, POLLIN, 0};
  const int ready = ::poll(&ended, 1, static_cast<int>(at_most.count()));
  ::close(handle);
  if (ready != 1) return std::nullopt;
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void SystemTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "missing host capability: root";
  std::string pattern = ::testing::TempDir() + "bailiff-system-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  ::chmod(directory_.c_str(), 0755);
  cgroup_ = "bailiff-system-test-" + std::to_string(::getpid());
  mounts_before_ = mounts();
}

void SystemTest::TearDown() {
  if (directory_.empty()) return;
  if (server_) stop();
  if (HasFailure()) std::fputs(log_text().c_str(), stderr);
  fs::remove_all(directory_);
}

void SystemTest::start(const std::vector<std::string>& arguments) {
  server_.emplace(data(), directory_ + "/log", cgroup_, arguments);
  ASSERT_TRUE(server_->listening()) << log_text();
}

void SystemTest::stop() {
  if (!server_->listening()) return server_.reset();
  remember_processes();
  server_->signal(SIGTERM);
  EXPECT_EQ(server_->wait_for_end(), 0);
  server_.reset();
  expect_nothing_left();
}

void SystemTest::remember_processes() { processes_ = processes_below(server_->pid()); }

void SystemTest::expect_nothing_left() {
  std::string left;
  const auto all_gone = [&]() {
    left.clear();
    for (const auto& process : processes_)
      if (is_alive(process)) left += "process " + std::to_string(process.pid) + "\n";
    for (const auto& cgroup : cgroups_named(cgroup_)) left += "cgroup " + cgroup + "\n";
    for (const auto& mount : mounts())
      if (!mounts_before_.contains(mount)) left += "mount " + mount + "\n";
    return left.empty();
  };
  EXPECT_TRUE(eventually(all_gone, std::chrono::seconds(10))) << "left behind:\n" << left;
}

std::string SystemTest::log_text() const {
  std::ifstream file(directory_ + "/log");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string SystemTest::submit(const Json& request) {
  const auto answer = http().post("/v1/jobs", request);
  EXPECT_EQ(answer.status, 202) << answer.body;
  return answer.status == 202 ? answer.json().value("id", "") : "";
}

Json SystemTest::wait(const std::string& id) {
  const auto answer = http().get("/v1/jobs/" + id, {"Prefer: wait=60"});
  EXPECT_EQ(answer.status, 200) << answer.body;
  auto job = answer.json();
  EXPECT_EQ(job.value("state", ""), "finished") << answer.body;
  return job;
}

bool SystemTest::has_language(const std::string& name) {
  const auto listed = http().get("/v1/languages").json();
  for (const auto& item : listed.at("items"))
    if (item.at("name") == name) return true;
  return false;
}

}  // namespace bailiff::system_tests
