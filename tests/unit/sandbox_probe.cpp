// What is said of a host, over directories that stand for one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "sandbox/probe_policy.h"
#include "sandbox/rootless.h"

namespace bailiff::sandbox {
namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;

constexpr const char* kAllCapabilities = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nSeccomp:\t0\nSeccomp_filters:\t0\n";
constexpr const char* kNoCapabilities = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t0\nSeccomp_filters:\t0\n";

/// A host of these files, over those of one where nothing stands in the way.
class FakeHost {
 public:
  explicit FakeHost(const Files& files) {
    std::string pattern = fs::temp_directory_path() / "bailiff-host.XXXXXX";
    root_ = mkdtemp(pattern.data());
    Files all = {{"/proc/self/status", kAllCapabilities},
                 {"/proc/self/uid_map", "         0          0 4294967295\n"},
                 {"/proc/self/ns/user", ""},
                 {"/proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"},
                 {"/proc/self/cgroup", "0::/user.slice/mine\n"},
                 {"/sys/fs/cgroup/user.slice/mine/cgroup.procs", ""},
                 {"/sys/fs/cgroup/user.slice/mine/cgroup.subtree_control", ""},
                 {"/sys/fs/cgroup/user.slice/mine/cgroup.controllers", "cpuset cpu io memory pids\n"}};
    for (const auto& [path, text] : files) all[path] = text;
    for (const auto& [path, text] : all) {
      if (text == kAbsent) continue;
      fs::create_directories(fs::path(root_ + path).parent_path());
      std::ofstream(root_ + path) << text;
      if (path.starts_with("/usr/bin/")) fs::permissions(root_ + path, fs::perms::owner_all);
    }
  }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  ~FakeHost() { fs::remove_all(root_); }
  [[nodiscard]] const std::string& root() const { return root_; }

  static constexpr const char* kAbsent = "absent";

 private:
  std::string root_;
};

const Capability* find(const std::vector<Capability>& list, const std::string& name) {
  const auto found = std::ranges::find(list, name, &Capability::name);
  return found == list.end() ? nullptr : &*found;
}

struct Row {
  const char* what;
  Files files;
  const char* capability;
  bool present, required;
  const char *detail, *fix;  // parts of them
};

TEST(ProbePolicy, NothingInTheWay) {
  const FakeHost host({});
  for (const auto& found : probe_policy(host.root())) {
    EXPECT_TRUE(found.present) << found.name << ": " << found.detail;
    EXPECT_EQ(found.fix, "") << found.name;
  }
}

const std::string kClone = "/proc/sys/kernel/unprivileged_userns_clone", kStatus = "/proc/self/status",
                  kRestrict = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", kCurrent = "/proc/self/attr/current",
                  kApparmor = "/sys/module/apparmor/parameters/enabled", kApparmorCurrent = "/proc/self/attr/apparmor/current",
                  kSelinux = "/sys/fs/selinux/enforce", kLockdown = "/sys/kernel/security/lockdown", kUidMap = "/proc/self/uid_map";
const Row kPolicies[] = {
    {"no user namespaces at all",
     {{"/proc/sys/user/max_user_namespaces", "0\n"}},
     "namespaces.allowed",
     false,
     true,
     "user.max_user_namespaces = 0",
     "sysctl -w"},
    {"no network and time namespaces",
     {{"/proc/sys/user/max_net_namespaces", "0\n"}, {"/proc/sys/user/max_time_namespaces", "0\n"}},
     "namespaces.allowed",
     false,
     true,
     "user.max_net_namespaces, user.max_time_namespaces = 0",
     "sysctl -w"},
    {"namespaces enough", {{"/proc/sys/user/max_user_namespaces", "96154\n"}}, "namespaces.allowed", true, true, "", ""},
    {"Debian's sysctl, root", {{kClone, "0\n"}}, "userns.unprivileged", true, true, "which this is", ""},
    {"Debian's sysctl, not root",
     {{kClone, "0\n"}, {kStatus, kNoCapabilities}},
     "userns.unprivileged",
     false,
     true,
     "kernel.unprivileged_userns_clone = 0",
     "kernel.unprivileged_userns_clone=1"},
    {"Debian's sysctl, open", {{kClone, "1\n"}, {kStatus, kNoCapabilities}}, "userns.unprivileged", true, true, "= 1", ""},
    {"Ubuntu 24.04, root", {{kRestrict, "1\n"}}, "apparmor.userns", true, true, "which this is", ""},
    {"Ubuntu 24.04, not root",
     {{kRestrict, "1\n"}, {kStatus, kNoCapabilities}},
     "apparmor.userns",
     false,
     true,
     "kernel.apparmor_restrict_unprivileged_userns = 1",
     "kernel.apparmor_restrict_unprivileged_userns=0"},
    {"Ubuntu 24.04, lifted", {{kRestrict, "0\n"}, {kStatus, kNoCapabilities}}, "apparmor.userns", true, true, "= 0", ""},
    {"no AppArmor, whatever the label", {{kCurrent, "docker-default (enforce)\n"}}, "apparmor.profile", true, false, "no AppArmor", ""},
    {"AppArmor, unconfined", {{kApparmor, "Y\n"}, {kApparmorCurrent, "unconfined\n"}}, "apparmor.profile", true, false, "unconfined", ""},
    {"AppArmor, complaining", {{kApparmor, "Y\n"}, {kApparmorCurrent, "x (complain)\n"}}, "apparmor.profile", true, false, "complain", ""},
    {"AppArmor, docker",
     {{kApparmor, "Y\n"}, {kApparmorCurrent, "docker-default (enforce)\n"}},
     "apparmor.profile",
     false,
     false,
     "docker-default (enforce)",
     "apparmor=unconfined"},
    {"AppArmor, docker, older kernel",
     {{kApparmor, "Y\n"}, {kCurrent, "docker-default (enforce)\n"}},
     "apparmor.profile",
     false,
     false,
     "docker-default (enforce)",
     "apparmor=unconfined"},
    {"SELinux, confined",
     {{kSelinux, "1"}, {kCurrent, "system_u:system_r:container_t:s0:c1,c2"}},
     "selinux",
     false,
     false,
     "container_t",
     "ausearch"},
    {"SELinux, unconfined",
     {{kSelinux, "1"}, {kCurrent, "unconfined_u:unconfined_r:unconfined_t:s0"}},
     "selinux",
     true,
     false,
     "enforcing",
     ""},
    {"SELinux, permissive", {{kSelinux, "0"}, {kCurrent, "system_u:system_r:container_t:s0"}}, "selinux", true, false, "permissive", ""},
    {"lockdown", {{kLockdown, "none [integrity] confidentiality\n"}}, "lockdown", true, false, "integrity (", ""},
    {"a container's seccomp filter",
     {{kStatus, "CapEff:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n"}},
     "seccomp.outer",
     false,
     false,
     "1 seccomp filter",
     "seccomp=unconfined"},
    {"docker's capabilities",
     {{kStatus, "CapEff:\t00000000a80425fb\nSeccomp:\t0\n"}},
     "capabilities",
     false,
     true,
     "not held: CAP_SYS_PTRACE CAP_SYS_ADMIN",
     "--privileged"},
    {"nothing readable", {{kStatus, FakeHost::kAbsent}}, "capabilities", false, true, "CAP_SYS_ADMIN", "root"},
    {"a rootless container", {{kUidMap, "0 1000 1\n1 100000 65536\n"}}, "namespaces.user.initial", false, true, "container's", "host"},
    {"userns-remap", {{kUidMap, "0 100000 65536\n"}}, "namespaces.user.initial", false, true, "container's", "host"},
};

TEST(ProbePolicy, EachRestrictionIsNamed) {
  for (const auto& row : kPolicies) {
    const FakeHost host(row.files);
    const auto list = probe_policy(host.root());
    const auto* found = find(list, row.capability);
    ASSERT_NE(found, nullptr) << row.what;
    EXPECT_EQ(found->present, row.present) << row.what << ": " << found->detail;
    EXPECT_EQ(found->required, row.required) << row.what;
    EXPECT_NE(found->detail.find(row.detail), std::string::npos) << row.what << ": " << found->detail;
    EXPECT_EQ(found->fix.empty(), row.present) << row.what << ": " << found->fix;
    EXPECT_NE(found->fix.find(row.fix), std::string::npos) << row.what << ": " << found->fix;
    for (const auto& other : list)  // one difference, one line
      EXPECT_TRUE(&other == found || other.present || row.files.contains(kStatus)) << row.what << ": " << other.name;
  }
}

/// The mounts and groups of a host with these v1 hierarchies, and v2 where its mount point is not empty.
Files cgroup_files(const std::vector<std::string>& v1, const std::string& v2_mount) {
  Files files = {{"/proc/self/mountinfo", ""}, {"/proc/self/cgroup", ""}};
  for (const auto& controllers : v1) {
    files["/proc/self/mountinfo"] += "30 20 0:26 / /sys/fs/cgroup/" + controllers + " rw - cgroup cgroup rw," + controllers + "\n";
    files["/proc/self/cgroup"] += "3:" + controllers + ":/a\n";
  }
  if (v2_mount.empty()) return files;
  files["/proc/self/mountinfo"] += "29 23 0:27 / " + v2_mount + " rw - cgroup2 cgroup2 rw\n";
  files["/proc/self/cgroup"] += "0::/a\n";
  return files;
}

TEST(ProbeHost, CgroupVersionAndEachController) {
  const std::vector<std::string> all = {"memory", "cpu,cpuacct", "pids", "cpuset", "freezer"};
  const std::string v2 = "/sys/fs/cgroup", hybrid = "/sys/fs/cgroup/unified";
  struct Host {
    const char* what;
    std::vector<std::string> v1;
    std::string v2_mount, v2_controllers, version, missing, fix;  // missing: the controllers, with a space behind each
  };
  const Host hosts[] = {
      {"v1", all, "", "", "1", "", ""},
      {"hybrid", all, hybrid, "", "hybrid", "", ""},
      {"hybrid without pids", {"memory", "cpu,cpuacct", "cpuset", "freezer"}, hybrid, "", "hybrid", "pids ", "mount -t cgroup -o pids"},
      {"v2", {}, v2, "cpuset cpu io memory pids", "2", "", ""},
      {"v2 and somebody's net_cls", {"net_cls"}, v2, "cpuset cpu io memory pids", "2", "", ""},
      {"v2 without cpu", {}, v2, "memory pids cpuset", "2", "cpu cpuacct ", "echo +cpu"},
      {"cpu left on v1", {"cpu,cpuacct"}, v2, "memory pids cpuset", "2", "cpu cpuacct ", "cgroup_no_v1=all"},
      {"none", {}, "", "", "none", "freezer memory cpu cpuacct pids cpuset version writable ", "mount"},
  };
  for (const auto& row : hosts) {
    Files files = cgroup_files(row.v1, row.v2_mount);
    files[v2 + "/a/cgroup.controllers"] = row.v2_controllers + "\n";
    for (const auto& controllers : row.v1) files["/sys/fs/cgroup/" + controllers + "/a/cgroup.procs"] = "";
    const FakeHost host(files);
    const auto list = probe_host(host.root());
    EXPECT_EQ(find(list, "cgroup.version")->detail, row.version) << row.what;
    std::string missing;
    for (const char* name : {"freezer", "memory", "cpu", "cpuacct", "pids", "cpuset", "version", "writable"}) {
      const auto* found = find(list, std::string("cgroup.") + name);
      ASSERT_NE(found, nullptr) << name;
      if (found->present) continue;
      missing += std::string(name) + " ";
      EXPECT_NE(found->fix.find(row.fix), std::string::npos) << row.what << ", " << name << ": " << found->fix;
    }
    EXPECT_EQ(missing, row.missing) << row.what;
  }
}

const Account kAlice{1000, "alice"};
const Files kEverything = {{"/etc/subuid", "bob:100000:65536\nalice:165536:65536\n"},
                           {"/etc/subgid", "1000:165536:65536\n"},
                           {"/usr/bin/newuidmap", "x"},
                           {"/usr/bin/newgidmap", "x"}};

TEST(Rootless, AHostThatGivesEverythingIsToldApartFromTheLauncher) {
  const FakeHost host(kEverything);
  const auto needs = probe_rootless(kAlice, host.root());
  for (const auto& entry : needs) {
    EXPECT_EQ(entry.present, entry.name != "rootless.devices") << entry.name << ": " << entry.detail;
    EXPECT_FALSE(entry.required) << entry.name;
  }
  EXPECT_TRUE(rootless_verdict(needs).starts_with("not possible: this host has the rest")) << rootless_verdict(needs);
}

const std::string kV1 = "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
const Row kUnmetNeeds[] = {
    {"no range", {{"/etc/subuid", "bob:100000:65536\n"}}, "rootless.subuid", false, false, "no range for alice", "--add-subuids"},
    {"no file", {{"/etc/subgid", FakeHost::kAbsent}}, "rootless.subgid", false, false, "no range for alice", "--add-subgids"},
    {"too small", {{"/etc/subuid", "alice:100000:1000\n"}}, "rootless.subuid", false, false, "1000 ids", "--add-subuids"},
    {"nonsense", {{"/etc/subuid", "alice\nalice:\n:1:65536\nalice:x:y\n"}}, "rootless.subuid", false, false, "no range", "--add-subuids"},
    {"no newuidmap", {{"/usr/bin/newuidmap", FakeHost::kAbsent}}, "rootless.newuidmap", false, false, "not installed", "uidmap"},
    {"no newgidmap", {{"/usr/bin/newgidmap", FakeHost::kAbsent}}, "rootless.newgidmap", false, false, "not installed", "uidmap"},
    {"Ubuntu 24.04",
     {{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"}},
     "rootless.user_namespaces",
     false,
     false,
     "apparmor_restrict_unprivileged_userns = 1",
     "sysctl"},
    {"Debian's sysctl",
     {{"/proc/sys/kernel/unprivileged_userns_clone", "0\n"}},
     "rootless.user_namespaces",
     false,
     false,
     "unprivileged_userns_clone = 0",
     "sysctl"},
    {"none allowed",
     {{"/proc/sys/user/max_user_namespaces", "0\n"}},
     "rootless.user_namespaces",
     false,
     false,
     "max_user_namespaces = 0",
     "sysctl"},
    {"none in the kernel",
     {{"/proc/self/ns/user", FakeHost::kAbsent}},
     "rootless.user_namespaces",
     false,
     false,
     "not in this kernel",
     "CONFIG_USER_NS"},
    {"cgroup v1",
     {{"/proc/self/mountinfo", kV1}, {"/proc/self/cgroup", "4:memory:/a\n"}},
     "rootless.cgroup",
     false,
     false,
     "v1",
     "unified_cgroup_hierarchy=1"},
    {"no cpu controller",
     {{"/sys/fs/cgroup/user.slice/mine/cgroup.controllers", "memory pids\n"}},
     "rootless.cgroup",
     false,
     false,
     "has no cpu",
     "Delegate="},
    {"not delegated",
     {{"/sys/fs/cgroup/user.slice/mine/cgroup.subtree_control", FakeHost::kAbsent}},
     "rootless.cgroup",
     false,
     false,
     "not delegated to us: /sys/fs/cgroup/user.slice/mine",
     "systemd-run --user"},
};

TEST(Rootless, EachNeedThatIsNotMetIsNamed) {
  for (const auto& row : kUnmetNeeds) {
    Files files = kEverything;
    for (const auto& [path, text] : row.files) files[path] = text;
    const FakeHost host(files);
    const auto needs = probe_rootless(kAlice, host.root());
    for (const auto& entry : needs) {
      const bool subject = entry.name == row.capability;
      EXPECT_EQ(entry.present, !subject && entry.name != "rootless.devices") << row.what << ", " << entry.name << ": " << entry.detail;
      if (!subject) continue;
      EXPECT_NE(entry.detail.find(row.detail), std::string::npos) << row.what << ": " << entry.detail;
      EXPECT_NE(entry.fix.find(row.fix), std::string::npos) << row.what << ": " << entry.fix;
    }
    const auto verdict = rootless_verdict(needs);
    EXPECT_TRUE(verdict.starts_with("not possible here: ")) << verdict;
    EXPECT_NE(verdict.find(row.detail), std::string::npos) << verdict;
  }
}

}  // namespace
}  // namespace bailiff::sandbox
