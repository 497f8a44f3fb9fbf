#include "sandbox/rootless.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <fstream>

#include "sandbox/cgroup.h"
#include "sandbox/kernel_file.h"
#include "sandbox/probe_policy.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint64_t kIds = 65536;  // of one slot

Capability need(std::string name, bool present, std::string detail, std::string fix) {
  return {"rootless." + std::move(name), present, std::move(detail), present ? "" : std::move(fix), false};
}

Capability user_namespaces(const std::string& root) {
  const std::string restriction = user_namespace_restriction(root);
  const bool exists = access((root + "/proc/self/ns/user").c_str(), F_OK) == 0;
  return need("user_namespaces", exists && restriction.empty(),
              !exists               ? "not in this kernel"
              : restriction.empty() ? "everybody may make them"
                                    : restriction,
              exists ? "as root, change " + restriction + " by sysctl -w" : "use a kernel with CONFIG_USER_NS=y");
}

/// The largest range of the account in a file of "name-or-uid:first:count" lines (subuid(5)).
std::uint64_t largest_range(const std::string& path, const Account& account) {
  std::ifstream lines(path);
  std::uint64_t most = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string who = line.substr(0, first);
    if (who.empty() || (who != account.name && who != std::to_string(account.uid))) continue;
    std::uint64_t count = 0;
    std::from_chars(line.data() + second + 1, line.data() + line.size(), count);
    most = std::max(most, count);
  }
  return most;
}

Capability id_range(const char* kind, const Account& account, const std::string& root) {
  const std::string file = std::string("/etc/sub") + kind;
  const auto ids = largest_range(root + file, account);
  const std::string who = account.name.empty() ? std::to_string(account.uid) : account.name;
  return need(std::string("sub") + kind, ids >= kIds,
              ids == 0 ? "no range for " + who + " in " + file : std::to_string(ids) + " ids for " + who + " in " + file,
              std::string("a slot takes 65536; as root: usermod --add-sub") + kind + "s 100000-165535 " + who);
}

/// Maps ranges for who owns them in /etc/sub*, by the set-user-ID bit or a file capability (which is not looked at).
Capability id_mapper(const char* program, const std::string& root) {
  for (const char* directory : {"/usr/bin/", "/bin/", "/usr/local/bin/"})
    if (access((root + directory + program).c_str(), X_OK) == 0) return need(program, true, std::string(directory) + program, "");
  return need(program, false, std::string(program) + " is not installed", "as root: apt-get install uidmap");
}

Capability delegated_group(const std::string& root) {
  const auto own = hierarchies_of("self", root);
  const std::string fix =
      "ask systemd for a group: systemd-run --user --scope --property=Delegate=yes COMMAND; where controllers are missing, "
      "as root put [Service] Delegate=cpu cpuset memory pids into /etc/systemd/system/user@.service.d/delegate.conf";
  if (!own || !own->unified)
    return need("cgroup", false, "cgroup v1 cannot be delegated safely", "boot with systemd.unified_cgroup_hierarchy=1");
  const std::string group = root + own->memory, list = " " + kernel_line(group + "/cgroup.controllers") + " ";
  std::string missing;
  for (const char* controller : {"memory", "cpu", "pids"})
    if (!list.contains(std::string(" ") + controller + " ")) missing += (missing.empty() ? "" : " ") + std::string(controller);
  for (const char* file : {"", "/cgroup.procs", "/cgroup.subtree_control"})
    if (access((group + file).c_str(), W_OK) != 0) return need("cgroup", false, "our group is not delegated to us: " + own->memory, fix);
  return need("cgroup", missing.empty(), missing.empty() ? own->memory : own->memory + " has no " + missing, fix);
}

}  // namespace

Account this_account() {
  const passwd* entry = getpwuid(geteuid());
  return {geteuid(), entry == nullptr ? "" : entry->pw_name};
}

std::vector<Capability> probe_rootless(const Account& account, const std::string& root) {
  return {user_namespaces(root),
          id_range("uid", account, root),
          id_range("gid", account, root),
          id_mapper("newuidmap", root),
          id_mapper("newgidmap", root),
          delegated_group(root),
          need("devices", false, "device nodes and device programs are for root outside of any user namespace", "run as root")};
}

std::string rootless_verdict(const std::vector<Capability>& needs) {
  std::string missing;
  for (const auto& entry : needs)
    if (!entry.present && entry.name != "rootless.devices") missing += (missing.empty() ? "" : "; ") + entry.detail;
  const std::string why = "the launcher makes device nodes and ties device programs to its groups, which takes root";
  if (missing.empty()) return "not possible: this host has the rest of what it takes, but " + why;
  return "not possible here: " + missing + "; and " + why;
}

}  // namespace bailiff::sandbox
