#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <sstream>
#include <thread>
#include <tuple>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_cpuset.h"
#include "sandbox/cgroup_devices.h"
#include "sandbox/cgroup_freezer.h"
#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

core::Status make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return core::errno_error("mkdir " + path);
  return {};
}

/// "name" in the comma-separated list.
bool lists(std::string_view comma_separated, std::string_view name) {
  while (!comma_separated.empty()) {
    const auto item = comma_separated.substr(0, comma_separated.find(','));
    if (item == name) return true;
    comma_separated.remove_prefix(std::min(comma_separated.size(), item.size() + 1));
  }
  return false;
}

/// The group, or the root of its hierarchy where a cgroup namespace hides our path.
std::string visible(const std::string& group) { return exists(group) ? group : group.substr(0, group.rfind('/')); }

std::vector<std::string> child_directories(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  closedir(dir);
  return names;
}

/// Ends what is still in one of our groups. The death signals have done that already in every case that we know; a program must not outlive
/// its slot in one that we do not.
void kill_members(const std::string& path) {
  for (const pid_t pid : group_members(path))
    if (pid > 1 && pid != getpid()) (void)kill(pid, SIGKILL);
}

/// Removes a group and those below it; a group whose last members are still exiting is tried again until the deadline.
core::Status remove_tree(const std::string& path, std::chrono::steady_clock::time_point deadline) {
  for (const auto& child : child_directories(path))
    if (auto removed = remove_tree(path + "/" + child, deadline); !removed) return removed;
  while (rmdir(path.c_str()) != 0) {
    if (errno == ENOENT) return {};
    const auto failed = core::errno_error("rmdir " + path);  // kill_members has an errno of its own
    if (failed.error().sys_errno != EBUSY || std::chrono::steady_clock::now() > deadline) return failed;
    kill_members(path);
    // Exiting tasks leave no event that all kernels send; the interval only spreads the retries.
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return {};
}

/// Takes away what keeps killed processes from dying.
void let_die(const std::string& path) {
  for (const auto& child : child_directories(path)) let_die(path + "/" + child);
  kill_members(path);
  thaw_left_v1(path);
  lift_left_caps(path);
}

/// Removes groups whose processes are dead or dying. Those of one process in several hierarchies must come together: what keeps it from
/// dying is in one of them.
core::Status remove_trees(const std::vector<std::string>& paths) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (const auto& path : paths) let_die(path);
  for (const auto& path : paths)
    if (auto removed = remove_tree(path, deadline); !removed) return removed;
  return {};
}

/// A launcher lives as a process of that name that is not a zombie (an init that reaps late, or a pid that somebody else has now).
bool launcher_lives(int pid) {
  const auto stat = read_kernel_file("/proc/" + std::to_string(pid) + "/stat");
  return stat && stat->find("(bailiff-launche) ") != std::string::npos && stat->find("(bailiff-launche) Z") == std::string::npos;
}

/// Groups "<name>.<pid>" whose launcher is dead were left by one that was killed.
void remove_stale(const std::vector<std::string>& parents, const std::string& name) {
  std::map<int, std::vector<std::string>> stale;  // by the launcher's pid
  for (const auto& parent : parents) {
    for (const auto& child : child_directories(parent)) {
      if (!child.starts_with(name + ".")) continue;
      int pid = 0;
      const char* digits = child.data() + name.size() + 1;
      const auto [end, fault] = std::from_chars(digits, child.data() + child.size(), pid);
      if (fault != std::errc{} || end != child.data() + child.size() || pid == getpid() || launcher_lives(pid)) continue;
      stale[pid].push_back(parent + "/" + child);
    }
  }
  for (const auto& [pid, groups] : stale) (void)remove_trees(groups);
}

core::Status enable_controllers(const std::string& group) {
  const auto available = read_kernel_file(group + "/cgroup.controllers");
  if (!available) return std::unexpected(available.error());
  const std::string list = " " + available->substr(0, available->find('\n')) + " ";
  for (const auto& controller : kControllers) {
    const std::string name = controller.v2_name;
    if (name.empty()) continue;
    if (!list.contains(" " + name + " ")) {
      if (!controller.required) continue;
      return core::error(core::ErrorKind::unavailable, "the cgroup " + group + " has no " + name + " controller; delegate it");
    }
    if (auto enabled = write_kernel_file(group + "/cgroup.subtree_control", "+" + name); !enabled) return enabled;
  }
  return {};
}

/// Moves this process and its parent (the launcher and its caller) out of `group` where they are alone in it.
bool move_into_leaf(const std::string& group) {
  const auto members = group_members(group);
  for (const pid_t pid : members)
    if (pid != getpid() && pid != getppid()) return false;
  const std::string leaf = group + "/bailiffd";
  if (!make_directory(leaf)) return false;
  for (const pid_t pid : members)  // not a caller that is somewhere else: systemd would lose sight of it
    if (!write_kernel_file(leaf + "/cgroup.procs", std::to_string(pid))) return false;
  return true;
}

/// On v2. A kernel without device programs leaves it to the mounts, as a v1 host without the hierarchy does (docs/security.md).
core::Status limit_devices(const std::string& base) {
  auto limited = limit_devices_v2(base);
  if (!limited && limited.error().kind == core::ErrorKind::unavailable) return {};
  return limited;
}

}  // namespace

CgroupLimits cgroup_limits(const core::Limits& limits) {
  return {limits.memory_bytes,
          limits.processes,
          limits.cpus_milli,
          {limits.io_read_bytes_per_s, limits.io_write_bytes_per_s, limits.io_read_ops_per_s, limits.io_write_ops_per_s}};
}

CgroupHierarchies parse_hierarchies(std::string_view mountinfo, std::string_view self_cgroup) {
  struct Mount {
    std::string root, point, type, options;
  };
  std::vector<Mount> mounts;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, word;
    Mount mount;
    words >> id >> parent >> device >> mount.root >> mount.point;
    while (words >> word && word != "-") {}
    words >> mount.type >> word >> mount.options;
    if (mount.type == "cgroup" || mount.type == "cgroup2") mounts.push_back(mount);
  }
  const auto group_of = [&](std::string_view controller) -> std::string {  // "" selects the unified hierarchy
    std::istringstream groups{std::string(self_cgroup)};
    for (std::string line; std::getline(groups, line);) {
      const auto first = line.find(':'), second = line.find(':', first + 1);
      if (first == line.npos || second == line.npos) continue;
      const auto names = std::string_view(line).substr(first + 1, second - first - 1);
      if (controller.empty() ? line.starts_with("0::") : lists(names, controller)) return line.substr(second + 1);
    }
    return "";
  };
  const auto directory = [&](std::string_view controller, const char* type) -> std::string {
    for (const auto& mount : mounts) {
      if (mount.type != type || (!controller.empty() && !lists(mount.options, controller))) continue;
      std::string group = group_of(controller);
      // In a container the mount's root is our own group already (or a parent of it).
      if (mount.root != "/" && group.starts_with(mount.root)) group.erase(0, mount.root.size());
      if (group == "/" || group.starts_with("/..")) group.clear();
      return mount.point + group;
    }
    return "";
  };
  CgroupHierarchies found;
  for (const auto& controller : kControllers) found.*controller.path = directory(controller.name, "cgroup");
  const auto is_unified = [](const Mount& mount) { return mount.type == "cgroup2"; };
  if (const auto mount = std::find_if(mounts.begin(), mounts.end(), is_unified); found.memory.empty() && mount != mounts.end()) {
    const std::string all = directory("", "cgroup2");
    for (const auto& controller : kControllers) found.*controller.path = all;
    found.unified = true;
    found.unified_root = mount->point;
  }
  found.net_cls = directory("net_cls", "cgroup");
  found.net_prio = directory("net_prio", "cgroup");
  return found;
}

core::Result<CgroupHost> CgroupHost::make(const std::string& name, bool delegated, const std::string& root) {
  CgroupHost host;
  host.root_ = root;
  host.name_ = name;
  host.delegated_ = delegated;
  if (auto found = host.find_hierarchies(); !found) return std::unexpected(found.error());
  if (host.unified_) return host;
  for (const auto& base : host.all_bases())
    if (auto made = make_directory(base); !made) return std::unexpected(made.error());
  return host;
}

core::Result<CgroupHierarchies> hierarchies_of(const std::string& process, const std::string& root) {
  auto mountinfo = open_kernel_file(root + "/proc/self/mountinfo", O_RDONLY);
  auto groups = read_kernel_file(root + "/proc/" + process + "/cgroup");
  if (!mountinfo) return std::unexpected(mountinfo.error());
  if (!groups) return std::unexpected(groups.error());
  std::string text;  // longer than one read gives
  char buffer[8192];
  for (ssize_t n = 0; (n = read(mountinfo->get(), buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return parse_hierarchies(text, *groups);
}

std::vector<pid_t> group_members(const std::string& group) {
  const auto procs = read_kernel_file(group + "/cgroup.procs");
  std::istringstream pids(procs.value_or(""));
  std::vector<pid_t> members;
  for (pid_t pid = 0; pids >> pid;) members.push_back(pid);
  return members;
}

core::Status CgroupHost::find_hierarchies() {
  const auto own = hierarchies_of("self", root_);
  if (!own) return std::unexpected(own.error());
  const auto& found = *own;
  unified_ = found.unified;
  if (unified_)
    return make_unified_base(exists(root_ + found.memory) ? root_ + found.memory : root_ + found.unified_root, root_ + found.unified_root);
  std::vector<std::string> parents;
  for (const auto& controller : kControllers) {
    const std::string& path = found.*controller.path;
    if (path.empty() && controller.required)
      return core::error(core::ErrorKind::unavailable,
                         std::string("no cgroup hierarchy with the ") + controller.name + " controller is mounted (see `bailiff doctor`)");
    if (path.empty()) continue;
    parents.push_back(visible(root_ + path));
    bases_.*controller.path = parents.back() + "/" + name_;
  }
  remove_stale(parents, name_.substr(0, name_.rfind('.')));
  return {};
}

core::Status CgroupHost::mark_packets(const NetMarks& marks) {
  const auto own = hierarchies_of("self", root_);
  if (!own) return std::unexpected(own.error());
  for (const auto& [mark, path, base, name] :
       {std::tuple(marks.class_id, &own->net_cls, &net_cls_, "net_cls"), {marks.priority, &own->net_prio, &net_prio_, "net_prio"}}) {
    if (mark == 0) continue;
    if (path->empty())
      return core::error(core::ErrorKind::unavailable, std::string("packets cannot be marked: no cgroup v1 hierarchy with ") + name +
                                                           " is mounted; mount -t cgroup -o " + name + " cgroup /sys/fs/cgroup/" + name);
    const std::string parent = visible(root_ + *path);
    remove_stale({parent}, name_.substr(0, name_.rfind('.')));
    *base = parent + "/" + name_;
    if (auto made = make_directory(*base); !made) return made;
  }
  marks_ = marks;
  return {};
}

core::Result<std::vector<std::string>> CgroupHost::make_marked_groups(const std::string& station) const {
  std::vector<std::string> groups;
  for (const auto* base : {&net_cls_, &net_prio_}) {
    if (base->empty()) continue;
    const std::string group = *base + "/" + station;
    if (auto made = make_directory(group); !made) return std::unexpected(made.error());
    auto set = base == &net_cls_ ? set_net_class(group, marks_.class_id) : set_net_priority(group, marks_.priority);
    if (!set) return std::unexpected(set.error());
    if (groups.empty() || groups.back() != group) groups.push_back(group);  // both may be in one hierarchy
  }
  return groups;
}

core::Status CgroupHost::make_unified_base(const std::string& own_group, const std::string& root_group) {
  // A group with processes in it cannot hand controllers to its children; only the root can. Our own group is right where it holds nobody
  // but us (a service or container): we move into a leaf of it. In a login session it holds others, and the root of what we see is left.
  core::Status last = core::error(core::ErrorKind::unavailable, "no cgroup v2 group that could hold ours");
  for (const auto& parent : {own_group, root_group}) {
    if (delegated_ && parent != own_group) break;
    remove_stale({parent}, name_.substr(0, name_.rfind('.')));
    const std::string base = parent + "/" + name_;
    last = make_directory(base);
    if (!last) continue;
    last = enable_controllers(parent);
    if (!last && last.error().sys_errno == EBUSY && move_into_leaf(parent)) last = enable_controllers(parent);
    if (last) last = enable_controllers(base);
    if (last) {
      for (const auto& controller : kControllers) bases_.*controller.path = base;
      return limit_devices(base);
    }
    (void)rmdir(base.c_str());
  }
  return last;
}

std::vector<std::string> CgroupHost::all_bases() const {
  std::vector<std::string> bases;
  for (const auto& controller : kControllers) {
    const std::string& base = bases_.*controller.path;
    if (!base.empty() && std::find(bases.begin(), bases.end(), base) == bases.end()) bases.push_back(base);
  }
  for (const auto* base : {&net_cls_, &net_prio_})
    if (!base->empty() && bases.back() != *base) bases.push_back(*base);
  return bases;
}

core::Result<std::unique_ptr<Station>> CgroupHost::make_station(const std::string& station, const std::string& cpus) const {
  if (!cpus.empty())
    if (auto can = can_pin(cpus); !can) return std::unexpected(can.error());
  auto marked = make_marked_groups(station);
  if (!marked) return std::unexpected(marked.error());
  if (unified_) {
    auto made = make_station_v2(bases_.memory, station, cpus);
    made->add_groups(std::move(*marked));
    return made;
  }
  for (const auto& base : all_bases())
    if (auto made = make_directory(base + "/" + station); !made) return std::unexpected(made.error());
  ControllerPaths groups;
  for (const auto& controller : kControllers)
    if (const std::string& base = bases_.*controller.path; !base.empty()) groups.*controller.path = base + "/" + station;
  if (!groups.cpuset.empty())
    if (auto set = set_cpuset_v1(bases_.cpuset, groups.cpuset, cpus); !set) return std::unexpected(set.error());
  if (!groups.devices.empty())
    if (auto limited = limit_devices_v1(groups.devices); !limited) return std::unexpected(limited.error());
  auto made = make_station_v1(groups);
  made->add_groups(std::move(*marked));
  return made;
}

core::Status CgroupHost::can_pin(const std::string& cpus) const {
  // On v1 our own group gets its CPUs with the first station.
  const std::string parent = bases_.cpuset.substr(0, bases_.cpuset.rfind('/'));
  const auto available = read_kernel_file(unified_ ? bases_.cpuset + "/cpuset.cpus.effective" : parent + "/cpuset.cpus");
  if (!available) return core::error(core::ErrorKind::unavailable, "slot_cpus: there is no cpuset controller for us");
  return check_cpus(cpus, *available);
}

core::Status CgroupHost::remove_station(const std::string& station) const {
  std::vector<std::string> groups;
  for (const auto& base : all_bases())
    // On v2 the groups of a station's steps are siblings "<station>.<number>".
    for (const auto& child : child_directories(base))
      if (child == station || child.starts_with(station + ".")) groups.push_back(base + "/" + child);
  return remove_trees(groups);
}

core::Status CgroupHost::remove() const { return remove_trees(all_bases()); }

}  // namespace bailiff::sandbox
