#pragma once
// What victim.cpp runs by name: each file of victims gives its own. And what these files share.
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

using Arguments = std::vector<std::string>;
/// name → what it does with the words after its name; the exit code.
using Victims = std::map<std::string, std::function<int(const Arguments&)>>;

/// Victims of what only a cgroup gives or limits.
const Victims& cgroup_victims();
const Victims& memory_victims();
const Victims& process_victims();
const Victims& output_victims();
const Victims& file_victims();
const Victims& escape_victims();
const Victims& network_victims();

constexpr std::size_t kMiB = 1 << 20;

inline std::size_t number(const Arguments& arguments, std::size_t index = 0) {
  return index < arguments.size() ? std::stoull(arguments[index]) : 0;
}

/// Writes to one byte of each page.
inline void touch(void* memory, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += 4096) *(static_cast<volatile char*>(memory) + at) = 1;
}

/// Prints "name: errno text" or "name: ok"; for a list of attempts that must fail.
inline void attempt(const std::string& name, long result) {
  std::printf("%s: %s\n", name.c_str(), result < 0 ? strerrorname_np(errno) : "ok");
}
