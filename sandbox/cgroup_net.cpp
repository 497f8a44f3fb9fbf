#include "sandbox/cgroup_net.h"

#include <sstream>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {

core::Status set_net_class(const std::string& group, std::uint32_t class_id) {
  return write_kernel_file(group + "/net_cls.classid", std::to_string(class_id));
}

core::Status set_net_priority(const std::string& group, std::uint32_t priority) {
  const auto map = read_kernel_file(group + "/net_prio.ifpriomap");  // a line for each interface: "eth0 0"
  if (!map) return std::unexpected(map.error());
  std::istringstream lines(*map);
  std::string interface, before;
  while (lines >> interface >> before)
    if (auto set = write_kernel_file(group + "/net_prio.ifpriomap", interface + " " + std::to_string(priority)); !set) return set;
  return {};
}

}  // namespace bailiff::sandbox
