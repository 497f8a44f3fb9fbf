#pragma once
// What victim.cpp runs by name: each file of victims gives its own.
#include <functional>
#include <map>
#include <string>
#include <vector>

using Arguments = std::vector<std::string>;
using Victims = std::map<std::string, std::function<int(const Arguments&)>>;

/// Victims of what only a cgroup gives or limits.
const Victims& cgroup_victims();
