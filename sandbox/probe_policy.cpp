#include "sandbox/probe_policy.h"

#include <linux/capability.h>

#include <array>
#include <charconv>
#include <sstream>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

Capability finding(std::string name, bool present, std::string detail, std::string fix, bool required = true) {
  return {std::move(name), present, std::move(detail), present ? "" : std::move(fix), required};
}

/// The words after "key:" in /proc/self/status.
std::string status_field(const std::string& root, const std::string& key) {
  std::istringstream lines(read_kernel_file(root + "/proc/self/status").value_or(""));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key + ":")) return line.substr(std::min(line.size(), line.find_first_not_of(" \t", key.size() + 1)));
  return "";
}

std::uint64_t effective_capabilities(const std::string& root) {
  const std::string text = status_field(root, "CapEff");
  std::uint64_t set = 0;
  std::from_chars(text.data(), text.data() + text.size(), set, 16);
  return set;
}

bool is_privileged(const std::string& root) { return (effective_capabilities(root) >> CAP_SYS_ADMIN & 1) != 0; }

Capability namespace_limits(const std::string& root) {
  std::string forbidden;
  for (const char* kind : {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"}) {
    const std::string sysctl = std::string("user.max_") + kind + "_namespaces";
    if (kernel_line(root + "/proc/sys/user/max_" + kind + "_namespaces") == "0") forbidden += (forbidden.empty() ? "" : ", ") + sysctl;
  }
  return finding("namespaces.allowed", forbidden.empty(), forbidden.empty() ? "no user.max_*_namespaces is 0" : forbidden + " = 0",
                 "sysctl -w each of them to 15000, and the same in /etc/sysctl.d");
}

/// A sysctl that forbids user namespaces to all but root where it has one value.
struct Restriction {
  const char *capability, *sysctl, *path, *forbids;
};
constexpr std::array<Restriction, 2> kRestrictions = {
    {{"userns.unprivileged", "kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "0"},
     {"apparmor.userns", "kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"}}};

Capability restriction(const Restriction& row, const std::string& root) {
  const std::string value = kernel_line(root + row.path);
  const bool restricts = value == row.forbids, exempt = is_privileged(root);
  std::string detail = value.empty() ? "this kernel has no " + std::string(row.sysctl) : std::string(row.sysctl) + " = " + value;
  if (restricts) detail += exempt ? ": only root may make user namespaces, which this is" : ": only root may make user namespaces";
  return finding(row.capability, !restricts || exempt, detail,
                 "run as root, or sysctl -w " + std::string(row.sysctl) + (*row.forbids == '0' ? "=1" : "=0"));
}

Capability apparmor_profile(const std::string& root) {
  if (kernel_line(root + "/sys/module/apparmor/parameters/enabled") != "Y")
    return finding("apparmor.profile", true, "no AppArmor", "", false);
  std::string profile = kernel_line(root + "/proc/self/attr/apparmor/current");
  if (profile.empty()) profile = kernel_line(root + "/proc/self/attr/current");
  const bool free = profile == "unconfined" || profile.ends_with("(unconfined)") || profile.ends_with("(complain)");
  return finding("apparmor.profile", free, "AppArmor profile: " + profile,
                 "a profile may forbid mounts; run unconfined (a container: --security-opt apparmor=unconfined; a service: no "
                 "AppArmorProfile=)",
                 false);
}

Capability selinux(const std::string& root) {
  const std::string enforce = kernel_line(root + "/sys/fs/selinux/enforce");
  if (enforce.empty()) return finding("selinux", true, "no SELinux", "", false);
  std::string domain = kernel_line(root + "/proc/self/attr/current");
  domain = domain.substr(0, domain.find('\0'));
  const bool free = enforce != "1" || domain.contains(":unconfined_") || domain.contains(":spc_t:");
  return finding(
      "selinux", free, std::string(enforce == "1" ? "enforcing" : "permissive") + ", this process is " + domain,
      "where a step is refused, `ausearch -m avc` tells; run in an unconfined domain (a container: --security-opt label=disable; "
      "a service: SELinuxContext=system_u:system_r:unconfined_service_t:s0)",
      false);
}

Capability lockdown(const std::string& root) {
  const std::string modes = kernel_line(root + "/sys/kernel/security/lockdown");
  const auto open = modes.find('['), close = modes.find(']');
  const bool known = open != modes.npos && close != modes.npos && open < close;
  return finding("lockdown", true,
                 known ? modes.substr(open + 1, close - open - 1) + " (Bailiff uses nothing that it forbids)" : "not in this kernel", "",
                 false);
}

Capability outer_seccomp(const std::string& root) {
  const std::string mode = status_field(root, "Seccomp");
  const bool filtered = mode == "2" || mode == "1";
  const std::string count = status_field(root, "Seccomp_filters");
  return finding(
      "seccomp.outer", !filtered,
      filtered ? "this process is under " + (count.empty() ? "a" : count) + " seccomp filter(s) of somebody else's"
               : "no filter of somebody else's",
      "a filter may refuse clone3, unshare, mount, pivot_root, bpf (a container: --security-opt seccomp=unconfined; a service: no "
      "SystemCallFilter=, RestrictNamespaces=)",
      false);
}

/// What the launcher does not start or run a step without.
constexpr std::array<std::pair<unsigned, const char*>, 6> kNeeded = {{{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
                                                                      {CAP_SETGID, "CAP_SETGID"},
                                                                      {CAP_SETUID, "CAP_SETUID"},
                                                                      {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
                                                                      {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                                                                      {CAP_MKNOD, "CAP_MKNOD"}}};

Capability capabilities(const std::string& root) {
  const auto set = effective_capabilities(root);
  std::string missing;
  for (const auto& [bit, name] : kNeeded)
    if ((set >> bit & 1) == 0) missing += (missing.empty() ? "" : " ") + std::string(name);
  return finding("capabilities", missing.empty(), missing.empty() ? "all that the launcher needs" : "not held: " + missing,
                 "run as root; in a container --privileged, or --cap-add for each; in a service, name them in CapabilityBoundingSet=");
}

/// In a user namespace of a container even root may not make device nodes, nor tie device programs to groups.
Capability initial_user_namespace(const std::string& root) {
  std::istringstream map(kernel_line(root + "/proc/self/uid_map"));
  std::uint64_t inside = 0, outside = 0, count = 0;
  map >> inside >> outside >> count;
  const bool initial = inside == 0 && outside == 0 && count == UINT32_MAX;
  return finding("namespaces.user.initial", initial,
                 initial ? "this process is in the host's own user namespace" : "this process is in a container's user namespace",
                 "run on the host, or in a container without a user namespace of its own (not rootless, no userns-remap)");
}

}  // namespace

std::vector<Capability> probe_policy(const std::string& root) {
  std::vector<Capability> list = {capabilities(root), initial_user_namespace(root), namespace_limits(root)};
  for (const auto& row : kRestrictions) list.push_back(restriction(row, root));
  for (auto* probe : {apparmor_profile, selinux, lockdown, outer_seccomp}) list.push_back(probe(root));
  return list;
}

std::string user_namespace_restriction(const std::string& root) {
  for (const auto& row : kRestrictions)
    if (kernel_line(root + row.path) == row.forbids) return std::string(row.sysctl) + " = " + row.forbids;
  if (kernel_line(root + "/proc/sys/user/max_user_namespaces") == "0") return "user.max_user_namespaces = 0";
  return "";
}

}  // namespace bailiff::sandbox
