#include "sandbox/cgroup_devices.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "sandbox/kernel_file.h"

namespace bailiff::sandbox {
namespace {

constexpr std::uint8_t kResult = BPF_REG_0, kContext = BPF_REG_1, kAccess = BPF_REG_2, kMajor = BPF_REG_3, kMinor = BPF_REG_4;

// One instruction each, in the words of Documentation/bpf/standardization/instruction-set.rst.
bpf_insn load_word(std::uint8_t into, std::size_t context_offset) {
  return {BPF_LDX | BPF_MEM | BPF_W, into, kContext, static_cast<std::int16_t>(context_offset), 0};
}
bpf_insn calculate(std::uint8_t operation, std::uint8_t with, std::int32_t constant) {
  return {static_cast<std::uint8_t>(BPF_ALU64 | BPF_K | operation), with, 0, 0, constant};
}
/// Skips the next `count` instructions where the register is not `constant`.
bpf_insn skip_unless(std::uint8_t checked, std::int32_t constant, std::int16_t count) {
  return {BPF_JMP | BPF_K | BPF_JNE, checked, 0, count, constant};
}
void add_return(std::vector<bpf_insn>& program, std::int32_t result) {
  program.push_back(calculate(BPF_MOV, kResult, result));
  program.push_back({BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
}

long bpf(int command, bpf_attr& attributes) { return syscall(SYS_bpf, command, &attributes, sizeof attributes); }

core::Result<core::Fd> load(const std::vector<bpf_insn>& program) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<std::uint64_t>(program.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
  attributes.license = reinterpret_cast<std::uint64_t>("none");  // it calls no helper, so none is asked for
  std::memcpy(attributes.prog_name, "bailiff_devices", sizeof "bailiff_devices");
  core::Fd loaded(static_cast<int>(bpf(BPF_PROG_LOAD, attributes)));  // bpf(2) descriptors are O_CLOEXEC
  if (loaded.valid()) return loaded;
  if (errno == ENOSYS || errno == EINVAL)
    return core::error(core::ErrorKind::unavailable, "this kernel has no device programs for cgroups (CONFIG_CGROUP_BPF)");
  return core::errno_error("load the device program");
}

}  // namespace

core::Status limit_devices_v1(const std::string& group) {
  if (auto denied = write_kernel_file(group + "/devices.deny", "a"); !denied) return denied;
  const auto allow = [&](unsigned major, const std::string& minor) {
    return write_kernel_file(group + "/devices.allow", "c " + std::to_string(major) + ":" + minor + " rw");
  };
  for (const auto& node : kDeviceNodes)
    if (auto allowed = allow(node.major, std::to_string(node.minor)); !allowed) return allowed;
  if (auto allowed = allow(kTerminalMaker.major, std::to_string(kTerminalMaker.minor)); !allowed) return allowed;
  return allow(kTerminalMajor, "*");
}

std::vector<bpf_insn> device_program() {
  // The low half of access_type is the kind of device, the high half what shall be done with it: both are checked at once.
  constexpr std::int32_t kKindAndMaking = 0xffff | (BPF_DEVCG_ACC_MKNOD << 16);
  std::vector<bpf_insn> program = {load_word(kAccess, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                   calculate(BPF_AND, kAccess, kKindAndMaking),
                                   {BPF_JMP | BPF_K | BPF_JEQ, kAccess, 0, 2, BPF_DEVCG_DEV_CHAR}};
  add_return(program, 0);
  program.push_back(load_word(kMajor, offsetof(bpf_cgroup_dev_ctx, major)));
  program.push_back(load_word(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)));
  const auto allow = [&](const DeviceNode& node) {
    program.push_back(skip_unless(kMajor, static_cast<std::int32_t>(node.major), 3));
    program.push_back(skip_unless(kMinor, static_cast<std::int32_t>(node.minor), 2));
    add_return(program, 1);
  };
  for (const auto& node : kDeviceNodes) allow(node);
  allow(kTerminalMaker);
  program.push_back(skip_unless(kMajor, kTerminalMajor, 2));
  add_return(program, 1);
  add_return(program, 0);
  return program;
}

bool device_programs_work() { return load(device_program()).has_value(); }

core::Status limit_devices_v2(const std::string& group) {
  const auto program = load(device_program());
  if (!program) return std::unexpected(program.error());
  const auto directory = open_kernel_file(group, O_RDONLY | O_DIRECTORY);
  if (!directory) return std::unexpected(directory.error());
  bpf_attr attributes{};
  attributes.target_fd = static_cast<std::uint32_t>(directory->get());
  attributes.attach_bpf_fd = static_cast<std::uint32_t>(program->get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;  // beside those of a service manager above us: all of them must agree
  if (bpf(BPF_PROG_ATTACH, attributes) != 0) return core::errno_error("attach the device program to " + group);
  return {};
}

}  // namespace bailiff::sandbox
