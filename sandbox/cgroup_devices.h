#pragma once
// The devices that a sandbox has: the nodes of its /dev, and an allow-list of exactly these on its group, so that no other device can be
// used even where a node of it could be come by. v1: the files of the devices controller; v2: a BPF program on our subtree, which every
// group below it inherits. Making nodes (mknod) is never allowed.
// Sources: Documentation/admin-guide/cgroup-v1/devices.rst, cgroup-v2.rst ("Device controller").
#include <linux/bpf.h>

#include <array>
#include <string>
#include <vector>

#include "core/result.h"

namespace bailiff::sandbox {

struct DeviceNode {
  const char* name;
  unsigned major, minor;
};
/// Character devices of every sandbox's /dev.
inline constexpr std::array<DeviceNode, 6> kDeviceNodes = {
    {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}};
/// Beside them, what a devpts of its own has: /dev/pts/ptmx, and the terminals made through it (every minor).
inline constexpr DeviceNode kTerminalMaker = {"pts/ptmx", 5, 2};
inline constexpr unsigned kTerminalMajor = 136;

/// v1: sets the allow-list on a group of the devices hierarchy.
core::Status limit_devices_v1(const std::string& group);

/// v2: loads the program and attaches it to a group; it lives as long as the group. ErrorKind::unavailable: this kernel has no such
/// programs.
core::Status limit_devices_v2(const std::string& group);

/// Whether limit_devices_v2() can be had here: the kernel takes the program. Attaches it to nothing.
bool device_programs_work();

/// The program for v2: 1 for access to a device of the list, 0 for everything else. Pure.
std::vector<bpf_insn> device_program();

}  // namespace bailiff::sandbox
