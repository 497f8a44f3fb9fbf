#include "sandbox/seccomp_compact.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>

namespace bailiff::sandbox {
namespace {

constexpr auto kNumberOffset = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
constexpr auto kArchOffset = static_cast<std::uint32_t>(offsetof(seccomp_data, arch));
constexpr std::uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS, kReturn = BPF_RET | BPF_K, kGoto = BPF_JMP | BPF_JA;

std::unexpected<core::Error> unsupported(const char* what) {
  return core::error(core::ErrorKind::internal, std::string("seccomp: cannot compact a program with ") + what);
}

/// What a program decides for a call: a value, or code that looks at the arguments.
struct Decision {
  bool is_value = true;
  std::uint32_t value = SECCOMP_RET_ALLOW;
  std::size_t program = 0, at = 0;  // of the code
  auto operator<=>(const Decision&) const = default;
};

bool jumps(std::uint16_t code, std::uint32_t accumulator, std::uint32_t operand) {
  switch (BPF_OP(code)) {
    case BPF_JEQ: return accumulator == operand;
    case BPF_JGT: return accumulator > operand;
    default: return accumulator >= operand;
  }
}

bool is_comparison(std::uint16_t code) {
  return BPF_CLASS(code) == BPF_JMP && BPF_SRC(code) == BPF_K &&
         (BPF_OP(code) == BPF_JEQ || BPF_OP(code) == BPF_JGT || BPF_OP(code) == BPF_JGE);
}

core::Result<Decision> decide(const BpfProgram& program, std::size_t index, std::uint32_t arch, std::uint32_t number) {
  std::uint32_t accumulator = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const auto& [code, jt, jf, k] = program[at];
    if (code == kReturn) return Decision{true, k, 0, 0};
    if (code == kLoad && k != kNumberOffset && k != kArchOffset) return Decision{false, 0, index, at};
    if (code == kLoad) accumulator = k == kNumberOffset ? number : arch;
    else if (code == kGoto) at += k;
    else if (is_comparison(code)) at += jumps(code, accumulator, k) ? jt : jf;
    else return unsupported("arithmetic on the call number");
  }
  return unsupported("no end");
}

core::Result<Decision> decide_together(std::span<const BpfProgram> programs, std::uint32_t arch, std::uint32_t number) {
  Decision strictest;
  for (std::size_t i = 0; i < programs.size(); ++i) {
    const auto one = decide(programs[i], i, arch, number);
    if (!one) return one;
    const auto allows = [](const Decision& decision) { return decision.is_value && decision.value == SECCOMP_RET_ALLOW; };
    if (allows(strictest)) strictest = *one;
    else if (strictest.is_value && one->is_value)
      strictest.value = static_cast<std::int32_t>(one->value & SECCOMP_RET_ACTION_FULL) <
                                static_cast<std::int32_t>(strictest.value & SECCOMP_RET_ACTION_FULL)
                            ? one->value
                            : strictest.value;
    else if (!allows(*one)) return unsupported("two views on one call's arguments");
  }
  return strictest;
}

class Builder {
 public:
  explicit Builder(std::span<const BpfProgram> programs) : programs_(programs) {}

  core::Result<BpfProgram> build(std::uint32_t arch, std::uint32_t foreign, std::span<const std::pair<std::uint32_t, Decision>> ranges) {
    out_ = {{kLoad, 0, 0, kArchOffset}, {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, arch}, {kReturn, 0, 0, foreign}, {kLoad, 0, 0, kNumberOffset}};
    if (!search(ranges)) return unsupported("too many ranges");
    for (const auto& [decision, sources] : jumps_to_) {
      for (const std::size_t source : sources) out_[source].k = static_cast<std::uint32_t>(out_.size() - source - 1);
      if (!copy(programs_[decision.program], decision.at)) return unsupported("a jump out of reach");
    }
    return std::move(out_);
  }

 private:
  bool search(std::span<const std::pair<std::uint32_t, Decision>> ranges) {
    if (ranges.size() == 1) {
      const auto& decision = ranges.front().second;
      if (!decision.is_value) jumps_to_[decision].push_back(out_.size());
      out_.push_back({decision.is_value ? kReturn : kGoto, 0, 0, decision.value});
      return true;
    }
    const std::size_t half = ranges.size() / 2, node = out_.size();
    out_.push_back({BPF_JMP | BPF_JGE | BPF_K, 0, 0, ranges[half].first});
    if (!search(ranges.first(half))) return false;
    const std::size_t skipped = out_.size() - node - 1;
    out_[node].jt = static_cast<std::uint8_t>(skipped);
    return skipped <= UINT8_MAX && search(ranges.subspan(half));
  }

  /// Appends what can be reached from `start`. Jumps go forwards only, so the order stays.
  bool copy(const BpfProgram& program, std::size_t start) {
    std::set<std::size_t> reached = {start};
    for (auto at = reached.begin(); at != reached.end(); ++at)
      for (const std::size_t next : successors(program, *at)) reached.insert(next);
    std::map<std::size_t, std::size_t> place;
    for (const std::size_t at : reached) place.emplace(at, out_.size() + place.size());
    for (const std::size_t at : reached) {
      auto instruction = program[at];
      const auto distance = [&](std::size_t target) { return place.at(target) - place.at(at) - 1; };
      if (instruction.code == kGoto) {
        instruction.k = static_cast<std::uint32_t>(distance(at + 1 + instruction.k));
      } else if (BPF_CLASS(instruction.code) == BPF_JMP) {
        const std::size_t yes = distance(at + 1 + instruction.jt), no = distance(at + 1 + instruction.jf);
        if (yes > UINT8_MAX || no > UINT8_MAX) return false;
        instruction.jt = static_cast<std::uint8_t>(yes);
        instruction.jf = static_cast<std::uint8_t>(no);
      }
      out_.push_back(instruction);
    }
    return true;
  }

  static std::vector<std::size_t> successors(const BpfProgram& program, std::size_t at) {
    const auto& [code, jt, jf, k] = program[at];
    if (BPF_CLASS(code) == BPF_RET) return {};
    if (code == kGoto) return {at + 1 + k};
    if (BPF_CLASS(code) == BPF_JMP) return {at + 1 + jt, at + 1 + jf};
    return {at + 1};
  }

  std::span<const BpfProgram> programs_;
  BpfProgram out_;
  std::map<Decision, std::vector<std::size_t>> jumps_to_;
};

}  // namespace

core::Result<BpfProgram> compact(std::span<const BpfProgram> programs, std::uint32_t arch) {
  std::set<std::uint32_t> starts = {0};
  for (const auto& program : programs)
    for (const auto& instruction : program)
      if (is_comparison(instruction.code)) {
        starts.insert(instruction.k);
        if (instruction.k != UINT32_MAX) starts.insert(instruction.k + 1);
      }
  std::vector<std::pair<std::uint32_t, Decision>> ranges;
  for (const std::uint32_t start : starts) {
    auto decision = decide_together(programs, arch, start);
    if (!decision) return std::unexpected(decision.error());
    if (ranges.empty() || ranges.back().second != *decision) ranges.emplace_back(start, *decision);
  }
  const auto foreign = decide_together(programs, ~arch, 0);
  if (!foreign) return std::unexpected(foreign.error());
  if (!foreign->is_value) return unsupported("a foreign architecture that is looked at");
  return Builder(programs).build(arch, foreign->value, ranges);
}

}  // namespace bailiff::sandbox
