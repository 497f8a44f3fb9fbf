#include "tests/sandbox/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox::testing {
namespace {

namespace fs = std::filesystem;

struct Shared {
  Launcher launcher;
  std::vector<Slot> slots;
  core::Fd victim_tree;
  HostState before;
};
std::unique_ptr<Shared> shared;
std::vector<fs::path> subtrees;  // the launcher's, one in each hierarchy

std::size_t count_cgroups(const std::string& parent) {
  std::size_t count = 0;
  std::error_code fault;
  for (const auto& entry : fs::directory_iterator(parent, fault))
    if (entry.is_directory(fault)) count += 1 + count_cgroups(entry.path().string());
  return count;
}

/// Wherever the driver has put them: below our own group, in a scope, at the root.
void find_subtrees(const std::string& name, const fs::path& parent, std::vector<fs::path>& found) {
  std::error_code gone;  // others make and remove groups as we look
  for (fs::directory_iterator entry(parent, gone); entry != fs::directory_iterator(); entry.increment(gone)) {
    if (entry->is_symlink(gone) || !entry->is_directory(gone)) continue;
    if (entry->path().filename() == name) found.push_back(entry->path());
    find_subtrees(name, entry->path(), found);
  }
}

/// Processes below this one: the launcher, its slots, their spawners and sandboxes.
std::size_t count_descendants(pid_t root) {
  std::size_t count = 0;
  std::ifstream children("/proc/" + std::to_string(root) + "/task/" + std::to_string(root) + "/children");
  for (pid_t child = 0; children >> child;) count += 1 + count_descendants(child);
  return count;
}

/// A process below `root` that executes the victim program; -1: none.
pid_t find_victim(pid_t root) {
  std::ifstream children("/proc/" + std::to_string(root) + "/task/" + std::to_string(root) + "/children");
  for (pid_t child = 0; children >> child;) {
    if (text_of("/proc/" + std::to_string(child) + "/comm") == "victim\n") return child;
    if (const pid_t below = find_victim(child); below > 0) return below;
  }
  return -1;
}

}  // namespace

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string own_directory() { return fs::read_symlink("/proc/self/exe").parent_path().string(); }

std::int64_t Ran::evidence(const std::string& name) const {
  for (const auto& [key, value] : outcome().evidence)
    if (key == name) return value;
  ADD_FAILURE() << "no evidence " << name;
  return -1;
}

std::size_t count_owned(const LauncherConfig& config) {
  constexpr std::uint32_t kIdsPerSlot = 65536;
  const auto is_owned = [&](unsigned long id) { return id >= config.uid_base && id < config.uid_base + config.slots * kIdsPerSlot; };
  std::size_t count = 0;
  std::error_code fault;
  for (const char* directory : {"/proc", "/tmp", "/var/tmp", "/dev/shm", "/run"})
    for (const auto& entry : fs::directory_iterator(directory, fs::directory_options::skip_permission_denied, fault)) {
      struct stat info{};
      count += lstat(entry.path().c_str(), &info) == 0 && is_owned(info.st_uid) ? 1 : 0;
    }
  for (const char* file : {"/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"}) {
    std::ifstream objects(file);
    std::string header, line;
    for (std::getline(objects, header); std::getline(objects, line);) {
      std::istringstream ids(line);
      bool is_ours = false;
      for (unsigned long id = 0; ids >> id;) is_ours = is_ours || is_owned(id);  // owner and maker; no other number is as large
      count += is_ours ? 1 : 0;
    }
  }
  return count;
}

std::ostream& operator<<(std::ostream& out, const HostState& state) {
  return out << state.descendants << " processes, " << state.fds << " fds, " << state.mounts.size() << " mounts, " << state.cgroups
             << " cgroups, " << state.owned << " things of a slot's ids";
}

HostState look_at_host() {
  HostState state;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) state.mounts.insert(line);
  for (const auto& subtree : subtrees) state.cgroups += fs::exists(subtree) + count_cgroups(subtree);
  state.descendants = count_descendants(getpid());
  state.owned = count_owned(SandboxTest::config());
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) (void)entry, ++state.fds;
  return state;
}

LauncherConfig SandboxTest::config() {
  LauncherConfig config;
  config.launcher_path = own_directory() + "/bailiff-launcher";
  config.slots = 2;
  config.uid_base = 0x50000000U + static_cast<std::uint32_t>(getpid()) % 4096 * 0x20000U;  // nobody else's, not even another run's
  config.images = {{"host", Image::Kind::host, ""}};
  return config;
}

void SandboxTest::SetUpTestSuite() {
  if (shared) return;
  auto launcher = Launcher::start(config());
  ASSERT_TRUE(launcher) << launcher.error().what;
  find_subtrees("bailiff." + std::to_string(launcher->pid()), "/sys/fs/cgroup", subtrees);
  ASSERT_FALSE(subtrees.empty());
  shared = std::make_unique<Shared>(Shared{std::move(*launcher), {}, {}, {}});
  for (unsigned i = 0; i < config().slots; ++i) {
    auto slot = shared->launcher.next_slot();
    ASSERT_TRUE(slot) << slot.error().what;
    shared->slots.push_back(std::move(*slot));
  }
  TreeWriter tree;
  const std::string victim = text_of(own_directory() + "/victim");
  ASSERT_FALSE(victim.empty());
  ASSERT_TRUE(tree.add_file("victim", victim, 0755));
  auto sealed = tree.finish();
  ASSERT_TRUE(sealed);
  shared->victim_tree = std::move(*sealed);
  // Both stations of both slots come to life with their first steps; what is there afterwards is what must stay.
  for (int i = 0; i < 4; ++i)
    for (unsigned slot = 0; slot < 2; ++slot) ASSERT_EQ(run(SandboxTest::victim({"exit", "0"}), slot).verdict(), core::Verdict::ok);
}

void SandboxTest::TearDownTestSuite() {}

void SandboxTest::SetUp() {
  ASSERT_TRUE(shared);
  // A prepared sandbox is there again a moment after a report, and the used one gone; the state is taken when it has settled.
  constexpr int kTries = 2000, kEqualInARow = 15;
  for (int tries = 0, equal = 0; tries < kTries && equal < kEqualInARow; ++tries) {
    auto now = look_at_host();
    equal = now == shared->before ? equal + 1 : 0;
    shared->before = std::move(now);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void SandboxTest::TearDown() {
  if (!shared) return;
  HostState now;
  for (int tries = 0; tries < 1000 && !((now = look_at_host()) == shared->before); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(now, shared->before);
}

StepRequest SandboxTest::victim(std::vector<std::string> words) {
  StepRequest request;
  request.image = "host";
  request.argv = std::move(words);
  request.argv.insert(request.argv.begin(), "/work/victim");
  request.env = {"PATH=/usr/bin:/bin"};
  request.limits.cpu_time_us = 1'000'000;
  request.limits.wall_time_us = 3'000'000;
  request.limits.memory_bytes = 64 << 20;
  request.limits.output_bytes = 1 << 20;
  request.trees.emplace_back(fcntl(shared->victim_tree.get(), F_DUPFD_CLOEXEC, 0));
  return request;
}

Ran SandboxTest::run(StepRequest request, unsigned slot_index) {
  if (auto out = output_memfd()) request.stdout_fd = std::move(*out);
  if (auto err = output_memfd()) request.stderr_fd = std::move(*err);
  Ran ran{slot(slot_index).run(request), "", ""};
  EXPECT_TRUE(ran.report) << ran.report.error().what;
  ran.out = read_all(request.stdout_fd.get()).value_or("");
  ran.err = read_all(request.stderr_fd.get()).value_or("");
  return ran;
}

StartedStep::StartedStep(Slot& slot, StepRequest request) : slot_(slot), request_(std::move(request)) {
  if (auto out = output_memfd()) request_.stdout_fd = std::move(*out);
  if (auto err = output_memfd()) request_.stderr_fd = std::move(*err);
  if (!slot_.start(request_)) return;
  pollfd report{slot_.fd(), POLLIN, 0};
  for (int tries = 0; tries < 5000 && (program_ = find_victim(getpid())) < 0; ++tries)
    if (poll(&report, 1, 1) != 0) return;
}

std::string StartedStep::group(std::string ControllerPaths::* controller) const {
  return parse_hierarchies(text_of("/proc/self/mountinfo"), text_of("/proc/" + std::to_string(program_) + "/cgroup")).*controller;
}

Ran StartedStep::finish() {
  Ran ran{slot_.finish(), "", ""};
  EXPECT_TRUE(ran.report) << ran.report.error().what;
  ran.out = read_all(request_.stdout_fd.get()).value_or("");
  ran.err = read_all(request_.stderr_fd.get()).value_or("");
  return ran;
}

pid_t parent_of(pid_t process) {
  const std::string stat = text_of("/proc/" + std::to_string(process) + "/stat");
  return stat.empty() ? -1 : std::stoi(stat.substr(stat.rfind(')') + 4));
}

bool ends(pid_t process) {
  for (int tries = 0; tries < 5000; ++tries) {
    const std::string stat = text_of("/proc/" + std::to_string(process) + "/stat");
    if (stat.empty() || stat.find(") Z ") != std::string::npos || stat.find(") X ") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

Ran SandboxTest::attack(const std::vector<std::string>& words, core::Verdict verdict, const std::function<void(core::Limits&)>& limit,
                        unsigned slot_index) {
  auto request = victim(words);
  if (limit) limit(request.limits);
  auto ran = run(std::move(request), slot_index);
  std::string all;
  for (const auto& word : words) all += word + " ";
  EXPECT_EQ(ran.verdict(), verdict) << all << describe(ran);
  return ran;
}

Slot& SandboxTest::slot(unsigned index) { return shared->slots.at(index); }
Launcher& SandboxTest::launcher() { return shared->launcher; }

std::string describe(const Ran& ran) {
  if (!ran.report) return ran.report.error().what;
  const auto& outcome = ran.outcome();
  return std::string(core::name(outcome.verdict)) + " '" + outcome.message + "' cpu " + std::to_string(outcome.usage.cpu_us) +
         " us, wall " + std::to_string(outcome.usage.wall_us) + " us, memory " + std::to_string(outcome.usage.memory_peak_bytes) +
         ", out " + ran.out.substr(0, 300) + ran.err.substr(0, 300);
}

namespace {

/// The launcher ends before gtest does, and must leave nothing.
class EndLauncher : public ::testing::Environment {
 public:
  void SetUp() override { before_ = look_at_host(); }
  void TearDown() override {
    shared.reset();
    HostState now;
    for (int tries = 0; tries < 1000 && !((now = look_at_host()) == before_); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(now, before_);
  }

 private:
  HostState before_;
};
const auto* const kEnd = ::testing::AddGlobalTestEnvironment(new EndLauncher);

}  // namespace

}  // namespace bailiff::sandbox::testing
