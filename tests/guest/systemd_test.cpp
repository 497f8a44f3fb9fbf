// The cgroup drivers under a real systemd, started by tests/guest/systemd_suite. "SystemdDriver" is for a service as any other,
// "DelegatedService" for one with Delegate=yes, "Unprivileged" for a service of a user's, "UnprivilegedDelegated" for both.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "sandbox/cgroup.h"
#include "sandbox/client.h"
#include "sandbox/systemd_scope.h"

namespace bailiff::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using Properties = std::map<std::string, std::string>;

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "re"), pclose);
  std::string text;
  char buffer[4096];
  for (std::size_t n = 0; pipe && (n = std::fread(buffer, 1, sizeof buffer, pipe.get())) > 0;) text.append(buffer, n);
  return text;
}

Properties show(const std::string& unit) {
  Properties properties;
  std::istringstream lines(output_of("systemctl show " + unit));
  for (std::string line; std::getline(lines, line);)
    if (const auto equals = line.find('='); equals != line.npos) properties[line.substr(0, equals)] = line.substr(equals + 1);
  return properties;
}

core::Result<Launcher> start(CgroupDriver driver) {
  LauncherConfig config;
  config.images = {{"host", Image::Kind::host, ""}};
  config.cgroup_driver = driver;
  return Launcher::start(config);
}

std::string unit_of(const Launcher& launcher) { return "bailiff-" + std::to_string(launcher.pid()) + ".scope"; }

void expect_a_step_runs(Launcher& launcher) {
  auto slot = launcher.next_slot();
  ASSERT_TRUE(slot) << slot.error().what;
  StepRequest request;
  request.image = "host";
  request.argv = {"/bin/true"};
  request.stdout_fd = std::move(*output_memfd());
  request.stderr_fd = std::move(*output_memfd());
  const auto report = slot->run(request);
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->outcome.verdict, core::Verdict::ok);
}

/// systemd learns from the kernel that the scope is empty, and that takes a moment.
void expect_gone(const std::string& unit, const CgroupHierarchies& groups) {
  Properties now;
  for (int tries = 0; tries < 500 && (now = show(unit))["LoadState"] != "not-found"; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(now["LoadState"], "not-found");
  EXPECT_EQ(output_of("systemctl list-units --all --no-legend 'bailiff*'"), "");
  for (const auto* group : {&groups.memory, &groups.cpu, &groups.pids})
    EXPECT_FALSE(fs::exists(group->substr(0, group->find(unit)) + unit)) << *group;
}

CgroupHierarchies groups_of(const Launcher& launcher) {
  const auto found = hierarchies_of(std::to_string(launcher.pid()));
  EXPECT_TRUE(found);
  return found.value_or(CgroupHierarchies{});
}

TEST(SystemdDriver, AutoTakesADelegatedScopeAndLeavesNothing) {
  auto launcher = start(CgroupDriver::automatic);
  ASSERT_TRUE(launcher) << launcher.error().what;
  EXPECT_EQ(launcher->cgroup_driver(), CgroupDriver::systemd) << launcher->cgroup_driver_reason();
  const auto unit = unit_of(*launcher);
  auto properties = show(unit);
  EXPECT_EQ(properties["ActiveState"], "active");
  EXPECT_EQ(properties["Delegate"], "yes");
  EXPECT_EQ(properties["TasksMax"], "infinity");
  EXPECT_NE(properties["Before"].find("guest.service"), std::string::npos) << properties["Before"];
  const auto groups = groups_of(*launcher);
  for (const auto* group : {&groups.memory, &groups.cpu, &groups.cpuacct, &groups.pids})
    EXPECT_NE((*group + "/").find(properties["ControlGroup"] + "/"), std::string::npos) << *group;
  EXPECT_EQ(text_of("/proc/self/cgroup").find(unit), std::string::npos) << "the caller has moved";
  expect_a_step_runs(*launcher);
  launcher = core::error(core::ErrorKind::unavailable, "ended");
  expect_gone(unit, groups);
}

TEST(SystemdDriver, AKilledLauncherLeavesNothing) {
  auto launcher = start(CgroupDriver::systemd);
  ASSERT_TRUE(launcher) << launcher.error().what;
  const auto unit = unit_of(*launcher);
  const auto groups = groups_of(*launcher);
  expect_a_step_runs(*launcher);
  ASSERT_EQ(kill(launcher->pid(), SIGKILL), 0);
  launcher = core::error(core::ErrorKind::unavailable, "ended");
  expect_gone(unit, groups);
}

TEST(SystemdDriver, AScopeThatIsStoppedEndsTheLauncher) {
  auto launcher = start(CgroupDriver::systemd);
  ASSERT_TRUE(launcher) << launcher.error().what;
  const auto groups = groups_of(*launcher);
  auto slot = launcher->next_slot();
  ASSERT_TRUE(slot) << slot.error().what;
  EXPECT_EQ(output_of("systemctl stop " + unit_of(*launcher) + " 2>&1"), "");
  EXPECT_FALSE(launcher->next_slot());
  expect_gone(unit_of(*launcher), groups);
}

TEST(SystemdDriver, TwoLaunchersHaveAScopeEach) {
  auto first = start(CgroupDriver::systemd), second = start(CgroupDriver::systemd);
  ASSERT_TRUE(first) << first.error().what;
  ASSERT_TRUE(second) << second.error().what;
  expect_a_step_runs(*first);
  expect_a_step_runs(*second);
  EXPECT_EQ(show(unit_of(*first))["ActiveState"], "active");
  EXPECT_EQ(show(unit_of(*second))["ActiveState"], "active");
}

TEST(SystemdDriver, CgroupfsAsksForNothingAndNeedsADelegatedGroupOnV1) {
  const auto own = hierarchies_of("self");
  ASSERT_TRUE(own) << own.error().what;
  auto launcher = start(CgroupDriver::cgroupfs);
  if (!own->unified) {
    ASSERT_FALSE(launcher);
    EXPECT_NE(launcher.error().what.find("Delegate=yes"), std::string::npos) << launcher.error().what;
    return;
  }
  ASSERT_TRUE(launcher) << launcher.error().what;
  EXPECT_EQ(launcher->cgroup_driver(), CgroupDriver::cgroupfs);
  EXPECT_EQ(show(unit_of(*launcher))["LoadState"], "not-found");
  expect_a_step_runs(*launcher);
}

/// True once what the command prints has it.
bool comes_to_say(const std::string& command, const std::string& words) {
  for (int tries = 0; tries < 1000; ++tries, std::this_thread::sleep_for(std::chrono::milliseconds(20)))
    if (output_of(command).find(words) != std::string::npos) return true;
  return false;
}

// As when the machine goes down: bailiffd must be stopped first, or it would lose its launcher, and the running job, instead of draining.
TEST(SystemdDriver, AServerThatIsStoppedWithItsLauncherEndsInOrder) {
  const std::string directory = fs::temp_directory_path() / "server", log = directory + "/log";
  fs::create_directories(directory + "/languages");
  const auto program = fs::read_symlink("/proc/self/exe").parent_path() / "bailiffd";
  EXPECT_EQ(
      output_of("systemd-run --quiet --unit=bailiffd --property=StandardError=file:" + log + " " + program.string() +
                " --listen 127.0.0.1:8080 --data " + directory + "/data --languages " + directory + "/languages --user 1000:1000 2>&1"),
      "");
  ASSERT_TRUE(comes_to_say("wget -qO- http://127.0.0.1:8080/v1/system 2>/dev/null", R"("driver":"systemd")")) << text_of(log);
  (void)output_of("wget -qO- --header 'Content-Type: application/json' --post-data "
                  "'{\"image\": \"host\", \"steps\": [{\"command\": [\"sleep\", \"2\"]}]}' http://127.0.0.1:8080/v1/jobs");
  ASSERT_TRUE(comes_to_say("wget -qO- http://127.0.0.1:8080/v1/jobs", R"("state":"running")")) << text_of(log);
  EXPECT_NE(output_of("systemctl list-units --no-legend 'bailiff-*.scope'"), "");
  EXPECT_EQ(output_of("systemctl stop bailiffd 'bailiff-*.scope' 2>&1"), "");
  EXPECT_NE(text_of(log).find("event=\"ended\""), std::string::npos) << text_of(log);
  EXPECT_EQ(text_of(log).find("level=error"), std::string::npos) << text_of(log);
  EXPECT_NE(text_of(log).find("verdict=ok"), std::string::npos) << text_of(log);
  EXPECT_EQ(output_of("systemctl list-units --all --no-legend 'bailiff*'"), "");
}

TEST(SystemdDriver, AProcessThatIsGoneGetsNoScope) {
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  ASSERT_EQ(waitpid(gone, nullptr, 0), gone);
  auto systemd = Systemd::connect();
  ASSERT_TRUE(systemd) << systemd.error().what;
  const auto refused = systemd->start_scope(gone);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("bailiff-" + std::to_string(gone) + ".scope"), std::string::npos) << refused.error().what;
}

// Before the next one, which moves this process into a leaf of its group.
TEST(DelegatedService, SharedWithSomebodyIsNotOurs) {
  const pid_t stranger = fork();
  if (stranger == 0) {
    pause();
    _exit(0);
  }
  auto launcher = start(CgroupDriver::automatic);
  kill(stranger, SIGKILL);
  EXPECT_EQ(waitpid(stranger, nullptr, 0), stranger);
  ASSERT_TRUE(launcher) << launcher.error().what;
  EXPECT_EQ(launcher->cgroup_driver(), CgroupDriver::systemd) << launcher->cgroup_driver_reason();
}

TEST(DelegatedService, AutoUsesTheGroupThatTheServiceWasGiven) {
  const auto own = hierarchies_of("self");
  ASSERT_TRUE(own) << own.error().what;
  auto launcher = start(CgroupDriver::automatic);
  ASSERT_TRUE(launcher) << launcher.error().what;
  EXPECT_EQ(launcher->cgroup_driver(), CgroupDriver::cgroupfs) << launcher->cgroup_driver_reason();
  EXPECT_EQ(output_of("systemctl list-units --no-legend 'bailiff-" + std::to_string(launcher->pid()) + "*'"), "");
  EXPECT_TRUE(groups_of(*launcher).memory.starts_with(own->memory)) << groups_of(*launcher).memory;
  expect_a_step_runs(*launcher);
}

TEST(DelegatedService, CgroupfsIsFineHere) {
  auto launcher = start(CgroupDriver::cgroupfs);
  ASSERT_TRUE(launcher) << launcher.error().what;
  expect_a_step_runs(*launcher);
}

/// "ok", "absent" or "MISSING"; empty where the page does not name it.
std::string state_of(const std::string& name, const std::string& page) {
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string state, subject;
    if (words >> state >> subject && subject == name) return state;
  }
  return "";
}

std::string refusal() {
  const auto launcher = start(CgroupDriver::automatic);
  EXPECT_FALSE(launcher);
  return launcher ? "" : launcher.error().what;
}

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " is not in: " << text;
}

TEST(Unprivileged, RefusalAndDoctorNameWhatIsMissing) {
  const bool unified = hierarchies_of("self").value().unified;
  const std::string group = unified ? "our group is not delegated to us" : "cgroup v1 cannot be delegated safely";
  const std::vector<std::string> missing = {"no range for alice in /etc/subuid", "newuidmap is not installed", group, "device nodes"};
  expect_words(refusal(), missing);
  EXPECT_NE(refusal().find("the launcher needs root"), std::string::npos) << refusal();
  const auto page = output_of(fs::read_symlink("/proc/self/exe").parent_path() / "bailiff doctor");
  for (const char* name : {"root", "capabilities"}) EXPECT_EQ(state_of(name, page), "MISSING") << name;
  for (const char* name : {"rootless", "rootless.cgroup", "rootless.subuid", "rootless.subgid", "rootless.newuidmap", "rootless.devices"})
    EXPECT_EQ(state_of(name, page), "absent") << name;
  EXPECT_EQ(state_of("rootless.user_namespaces", page), "ok");
  const auto verdict = page.find(" rootless ");
  ASSERT_NE(verdict, page.npos) << page;
  expect_words(page.substr(verdict), missing);
}

TEST(UnprivilegedDelegated, TheGroupIsNotAmongWhatIsMissing) {
  if (!hierarchies_of("self").value().unified) return;  // Delegate=yes gives a user no v1 group
  EXPECT_EQ(refusal().find("delegated"), std::string::npos) << refusal();
  const auto page = output_of(fs::read_symlink("/proc/self/exe").parent_path() / "bailiff doctor");
  EXPECT_EQ(state_of("rootless.cgroup", page), "ok");
  EXPECT_EQ(state_of("rootless", page), "absent");
}

}  // namespace
}  // namespace bailiff::sandbox::testing
