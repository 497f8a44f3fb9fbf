#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_devices.h"
#include "sandbox/client.h"
#include "sandbox/kernel_file.h"
#include "sandbox/probe_policy.h"

namespace bailiff::sandbox {
namespace {

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string whole_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void add(std::vector<Capability>& list, std::string name, bool present, std::string detail, std::string fix) {
  list.push_back({std::move(name), present, std::move(detail), present ? "" : std::move(fix)});
}

void probe_privilege(std::vector<Capability>& list) {
  add(list, "root", geteuid() == 0, "effective uid " + std::to_string(geteuid()),
      "start it as root (sudo); the server drops every privilege by itself");
  utsname kernel{};
  (void)uname(&kernel);
  int major = 0, minor = 0;
  (void)std::sscanf(kernel.release, "%d.%d", &major, &minor);
  add(list, "kernel", major > 5 || (major == 5 && minor >= 19), std::string("Linux ") + kernel.release, "run Linux 5.19 or newer");
}

void probe_namespaces(std::vector<Capability>& list, const std::string& root) {
  constexpr std::array<std::pair<const char*, const char*>, 8> kNamespaces = {{{"user", "CONFIG_USER_NS"},
                                                                               {"pid", "CONFIG_PID_NS"},
                                                                               {"mnt", "CONFIG_NAMESPACES"},
                                                                               {"net", "CONFIG_NET_NS"},
                                                                               {"ipc", "CONFIG_IPC_NS"},
                                                                               {"uts", "CONFIG_UTS_NS"},
                                                                               {"cgroup", "CONFIG_CGROUPS"},
                                                                               {"time", "CONFIG_TIME_NS"}}};
  for (const auto& [name, option] : kNamespaces) {
    const bool present = exists(root + "/proc/self/ns/" + name);
    add(list, std::string("namespaces.") + name, present, present ? "/proc/self/ns/" + std::string(name) : "not in this kernel",
        std::string("use a kernel with ") + option + "=y");
  }
}

/// `controllers`: the list of the v2 group, with a space on both ends.
bool present_in_v2(const Controller& controller, const std::string& controllers) {
  if (std::string_view(controller.name) == "devices") return device_programs_work();
  return *controller.v2_name == '\0' || controllers.contains(std::string(" ") + controller.v2_name + " ");
}

/// A v1 hierarchy has it, by the lines "number:controller,controller:path" of /proc/self/cgroup.
bool is_on_v1(const std::string& controller, const std::string& own) {
  std::istringstream lines(own);
  for (std::string line; std::getline(lines, line);)
    if (const auto names = "," + line.substr(line.find(':') + 1);
        names.substr(0, names.find(':')).append(",").contains("," + controller + ","))
      return true;
  return false;
}

/// How to get a controller that is missing; `on_v1`: memory is in v2 and this one is not.
std::string fix_of(const Controller& controller, bool unified, bool on_v1) {
  const std::string name = controller.name;
  if (on_v1) return "boot with cgroup_no_v1=all, so that " + name + " is where memory is";
  if (!unified) return "mount -t cgroup -o " + name + " cgroup /sys/fs/cgroup/" + name + "; where v2 has it, boot with cgroup_no_v1=all";
  if (*controller.v2_name == '\0') return "use a kernel with CONFIG_CGROUP_BPF=y, and allow bpf in the outer seccomp profile";
  return std::string("echo +") + controller.v2_name + " > .../cgroup.subtree_control of the parent, or Delegate=yes in the systemd unit";
}

void probe_cgroups(std::vector<Capability>& list, const std::string& root) {
  const std::string mounts = whole_file(root + "/proc/self/mountinfo"), own = whole_file(root + "/proc/self/cgroup");
  const auto found = parse_hierarchies(mounts, own);
  const bool has_unified_mount = mounts.find(" - cgroup2 ") != std::string::npos;
  const bool any = !found.memory.empty();
  const char* version = found.unified ? "2" : has_unified_mount ? "hybrid" : "1";
  add(list, "cgroup.version", any, any ? version : "none",
      "mount a cgroup hierarchy with the memory controller (in a container: -v /sys/fs/cgroup:/sys/fs/cgroup:rw --cgroupns=host)");
  const std::string controllers = found.unified ? " " + kernel_line(root + found.memory + "/cgroup.controllers") + " " : "";
  for (const auto& controller : kControllers) {
    const std::string &path = found.*controller.path, name = std::string("cgroup.") + controller.name;
    const bool present = found.unified ? present_in_v2(controller, controllers) : !path.empty();
    const bool on_v1 = found.unified && !present && is_on_v1(controller.name, own);
    list.push_back({name, present,
                    present ? path
                    : on_v1 ? "in a v1 hierarchy, and memory is in v2"
                            : "no hierarchy",
                    present ? "" : fix_of(controller, found.unified, on_v1), controller.required});
  }
  const bool writable = any && access((root + found.memory).c_str(), W_OK) == 0;
  add(list, "cgroup.writable", writable, any ? found.memory : "none", "mount the cgroup file system read-write and run as root");
  if (!found.unified && any) {
    const bool swap = exists(root + found.memory + "/memory.memsw.limit_in_bytes");
    list.push_back(
        {"cgroup.swap", true, swap ? "swap is accounted and capped at 0" : "no swap accounting: swappiness 0 is used instead", ""});
  }
}

void probe_features(std::vector<Capability>& list, const std::string& root) {
  const std::string actions = kernel_line(root + "/proc/sys/kernel/seccomp/actions_avail");
  add(list, "seccomp", actions.find("errno") != std::string::npos && actions.find("kill_process") != std::string::npos,
      actions.empty() ? "none" : actions, "use a kernel with CONFIG_SECCOMP_FILTER=y");
  const bool pidfd = core::Fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))).valid();
  add(list, "pidfd", pidfd, pidfd ? "pidfd_open works" : "pidfd_open fails",
      "use Linux 5.3 or newer and allow pidfd_open in the outer seccomp profile");
  const std::string systems = whole_file(root + "/proc/filesystems");
  for (const char* name : {"tmpfs", "proc", "devpts"})
    add(list, std::string("filesystem.") + name, systems.find(std::string("\t") + name + "\n") != std::string::npos, "/proc/filesystems",
        std::string("use a kernel with ") + name);
  const bool overlay = systems.find("\toverlay\n") != std::string::npos, erofs = systems.find("\terofs\n") != std::string::npos;
  list.push_back({"filesystem.packed_images", true,
                  std::string(erofs ? "erofs" : "no erofs") + (overlay ? ", overlay" : ", no overlay") + " (not needed by the host image)",
                  ""});
}

}  // namespace

std::vector<Capability> probe_host(const std::string& root) {
  std::vector<Capability> list;
  probe_privilege(list);
  probe_namespaces(list, root);
  probe_cgroups(list, root);
  probe_features(list, root);
  for (auto& found : probe_policy(root)) list.push_back(std::move(found));
  return list;
}

}  // namespace bailiff::sandbox
