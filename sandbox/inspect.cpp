#include "sandbox/inspect.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

// Init's own, but for time: it has made that namespace for its children and does not live in it.
constexpr std::array kFiles = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time_for_children"};
constexpr std::array<std::pair<int, const char*>, 8> kTypes = {{{CLONE_NEWUSER, "user"},
                                                                {CLONE_NEWPID, "pid"},
                                                                {CLONE_NEWNS, "mnt"},
                                                                {CLONE_NEWNET, "net"},
                                                                {CLONE_NEWIPC, "ipc"},
                                                                {CLONE_NEWUTS, "uts"},
                                                                {CLONE_NEWCGROUP, "cgroup"},
                                                                {CLONE_NEWTIME, "time"}}};

core::Result<std::uint64_t> inode_of(const core::Fd& fd) {
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return core::errno_error("fstat of a namespace");
  return info.st_ino;
}

/// The namespace that NS_GET_USERNS or NS_GET_PARENT leads to; empty where that is beyond our view or there is none.
core::Result<core::Fd> related(const core::Fd& fd, unsigned long request) {
  core::Fd found(ioctl(fd.get(), request));
  if (!found.valid() && errno != EPERM && errno != EINVAL) return core::errno_error("ioctl of a namespace");
  return found;
}

core::Result<Inspection::Namespace> look_at_namespace(const std::string& path) {
  auto fd = open_kernel_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  const int type = ioctl(fd->get(), NS_GET_NSTYPE);
  auto inode = inode_of(*fd);
  if (type < 0) return core::errno_error("NS_GET_NSTYPE");
  if (!inode) return std::unexpected(inode.error());
  Inspection::Namespace seen;
  for (const auto& [flag, name] : kTypes)
    if (flag == type) seen.type = name;
  seen.inode = *inode;
  auto owner = related(*fd, NS_GET_USERNS);
  auto parent = type == CLONE_NEWUSER || type == CLONE_NEWPID ? related(*fd, NS_GET_PARENT) : core::Fd();
  if (!owner || !parent) return std::unexpected(!owner ? owner.error() : parent.error());
  for (auto [relative, into] : {std::pair{&*owner, &seen.owner_inode}, {&*parent, &seen.parent_inode}}) {
    if (!relative->valid()) continue;
    auto found = inode_of(*relative);
    if (!found) return std::unexpected(found.error());
    *into = *found;
  }
  const core::Fd& made_by = type == CLONE_NEWUSER ? *fd : *owner;
  if (made_by.valid() && ioctl(made_by.get(), NS_GET_OWNER_UID, &seen.owner_uid) != 0) return core::errno_error("NS_GET_OWNER_UID");
  return seen;
}

/// Lines "id:controllers:path".
core::Result<std::vector<Inspection::Group>> look_at_groups(const std::string& proc) {
  auto text = read_kernel_file(proc + "/cgroup");
  if (!text) return std::unexpected(text.error());
  std::vector<Inspection::Group> groups;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) return core::error(core::ErrorKind::internal, "malformed " + proc + "/cgroup");
    groups.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return groups;
}

/// The first of these files that one of the groups has; 0 where none has it.
std::uint64_t figure(const std::vector<std::string>& groups, std::initializer_list<const char*> files) {
  for (const auto& group : groups)
    for (const char* file : files)
      if (auto fd = open_kernel_file(group + "/" + file, O_RDONLY))
        if (auto number = read_kernel_number(fd->get())) return *number;
  return 0;
}

/// What /proc/PID/status says after "key:\t"; empty where it says nothing.
std::string status_field(std::string_view status, std::string_view key) {
  const std::string start = "\n" + std::string(key) + ":\t";
  const auto at = status.find(start);
  if (at == status.npos) return "";
  const auto rest = status.substr(at + start.size());
  return std::string(rest.substr(0, rest.find('\n')));
}

/// False: it is gone, or not one of the sandbox's (on v1 the spawner is in the same group).
bool look_at_process(Inspection::Process& process) {
  const std::string proc = "/proc/" + std::to_string(process.host_pid);
  const auto status = read_kernel_file(proc + "/status");
  const auto name = read_kernel_file(proc + "/comm");
  if (!status || !name) return false;
  // One number for each PID namespace from ours inwards.
  std::istringstream numbers(status_field(*status, "NSpid"));
  pid_t outside = -1;
  if (!(numbers >> outside >> process.pid) || outside != process.host_pid) return false;
  process.name = name->substr(0, name->size() - name->ends_with('\n'));
  return true;
}

}  // namespace

core::Result<Inspection> inspect_sandbox(pid_t init, const std::vector<std::string>& groups) {
  Inspection seen;
  const std::string proc = "/proc/" + std::to_string(init);
  for (const char* file : kFiles) {
    auto one = look_at_namespace(proc + "/ns/" + file);
    if (!one) return std::unexpected(one.error());
    seen.namespaces.push_back(std::move(*one));
  }
  auto in = look_at_groups(proc);
  if (!in) return std::unexpected(in.error());
  seen.groups = std::move(*in);
  seen.memory_bytes = figure(groups, {"memory.current", "memory.usage_in_bytes"});
  seen.processes_now = figure(groups, {"pids.current"});
  std::ifstream members(groups.front() + "/cgroup.procs");
  for (Inspection::Process process; members >> process.host_pid;) {
    if (!look_at_process(process)) continue;
    seen.truncated = seen.processes.size() == kMaxInspectedProcesses;
    if (seen.truncated) break;
    seen.processes.push_back(process);
  }
  std::ranges::sort(seen.processes, {}, &Inspection::Process::pid);
  return seen;
}

}  // namespace bailiff::sandbox
