#pragma once
// Marks on packets, by the v1 hierarchies net_cls and net_prio: a class for the host's traffic control and firewall, and a priority on its
// interfaces. The packets of a program that has only its own loopback are marked too, and nobody sees them.
// Sources: Documentation/admin-guide/cgroup-v1/{net_cls,net_prio}.rst.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::sandbox {

/// 0: not marked.
struct NetMarks {
  std::uint32_t class_id = 0;  // 0xAAAABBBB: major and minor number of a traffic control class
  std::uint32_t priority = 0;  // of packets, on every interface of the host
};

core::Status set_net_class(const std::string& group, std::uint32_t class_id);
/// On every interface that the host has now.
core::Status set_net_priority(const std::string& group, std::uint32_t priority);

}  // namespace bailiff::sandbox
