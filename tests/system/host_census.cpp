#include "tests/system/host_census.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace bailiff::system_tests {

namespace fs = std::filesystem;

namespace {

struct Stat {
  pid_t parent = 0;
  std::string start_time;
  bool found = false;
};

Stat stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text, '\0');  // a process that dies meanwhile is a failed read, which an iterator would throw
  const auto name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  std::vector<std::string> words;
  for (std::string word; fields >> word;) words.push_back(word);
  if (words.size() < 20 || words[0] == "Z") return {};
  return {static_cast<pid_t>(std::stol(words[1])), words[19], true};
}

std::map<pid_t, Stat> all_processes() {
  std::map<pid_t, Stat> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (const auto stat = stat_of(pid); stat.found) all[pid] = stat;
  }
  return all;
}

}  // namespace

std::set<ProcessId> processes_below(pid_t root) {
  const auto all = all_processes();
  std::set<ProcessId> below;
  for (const auto& [pid, stat] : all) {
    for (pid_t up = pid; up > 1;) {
      if (up == root) {
        below.insert({pid, stat.start_time});
        break;
      }
      const auto parent = all.find(up);
      up = parent == all.end() ? 0 : parent->second.parent;
    }
  }
  return below;
}

std::set<pid_t> children_of(pid_t parent) {
  std::set<pid_t> children;
  for (const auto& [pid, stat] : all_processes())
    if (stat.parent == parent) children.insert(pid);
  return children;
}

bool is_alive(const ProcessId& process) {
  const auto stat = stat_of(process.pid);
  return stat.found && stat.start_time == process.start_time;
}

std::set<std::string> cgroups_named(const std::string& name) {
  std::set<std::string> found;
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator entry("/sys/fs/cgroup", options, error), end; entry != end; entry.increment(error)) {
    if (error) error.clear();
    else if (entry->is_directory(error) && entry->path().string().find("/" + name) != std::string::npos)
      found.insert(entry->path().string());
  }
  return found;
}

std::set<std::string> mounts() {
  std::ifstream file("/proc/self/mountinfo");
  std::set<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    const auto parent_end = line.find(' ', line.find(' ') + 1);
    lines.insert(line.substr(parent_end));
  }
  return lines;
}

std::size_t open_descriptors(pid_t pid) {
  std::size_t count = 0;
  std::error_code error;
  for (fs::directory_iterator entry("/proc/" + std::to_string(pid) + "/fd", error), end; !error && entry != end; entry.increment(error))
    ++count;
  return count;
}

}  // namespace bailiff::system_tests
