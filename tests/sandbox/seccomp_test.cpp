// The compacted filter decides as libseccomp's own programs do: both are interpreted for every call number and telling arguments.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstring>

#include "sandbox/seccomp_compact.h"

namespace bailiff::sandbox {
namespace {

std::uint32_t interpret(const BpfProgram& program, const seccomp_data& call) {
  std::uint32_t a = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const auto& [code, jt, jf, k] = program[at];
    switch (code) {
      case BPF_RET | BPF_K: return k;
      case BPF_LD | BPF_W | BPF_ABS: std::memcpy(&a, reinterpret_cast<const char*>(&call) + k, sizeof a); break;
      case BPF_ALU | BPF_AND | BPF_K: a &= k; break;
      case BPF_JMP | BPF_JA: at += k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += a == k ? jt : jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: at += a > k ? jt : jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += a >= k ? jt : jf; break;
      default: ADD_FAILURE() << "instruction " << code; return 0;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return 0;
}

std::uint32_t strictest(const std::vector<BpfProgram>& programs, const seccomp_data& call) {
  std::uint32_t decision = SECCOMP_RET_ALLOW;
  for (const auto& program : programs) {
    const std::uint32_t one = interpret(program, call);
    if (static_cast<std::int32_t>(one & SECCOMP_RET_ACTION_FULL) < static_cast<std::int32_t>(decision & SECCOMP_RET_ACTION_FULL))
      decision = one;
  }
  return decision;
}

TEST(SeccompCompact, DecidesAsTheListsItWasMadeOf) {
  const auto lists = compile_seccomp_lists();
  const auto filter = compile_seccomp_filter();
  ASSERT_TRUE(lists && filter);
  std::vector<std::uint32_t> numbers = {0x3fffffff, 0x40000000, 0x40000001, 0x40000000 + 517,
                                        0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
  for (std::uint32_t number = 0; number < 2048; ++number) numbers.push_back(number);
  const std::uint64_t values[] = {0,
                                  1,
                                  2,
                                  3,
                                  10,
                                  16,
                                  17,
                                  40,
                                  0x5412,
                                  0x541c,
                                  0x5401,
                                  0x10000000,
                                  0x02000000,
                                  0x20000000,
                                  0x7e020000,
                                  0xffffffff,
                                  0x11,
                                  0x01200011,
                                  0x100005412,
                                  0xffffffff00005412,
                                  0xffffffff0000541c,
                                  UINT64_MAX};
  std::size_t allowed = 0, refused = 0;
  for (const std::uint32_t arch : {static_cast<std::uint32_t>(AUDIT_ARCH_X86_64), static_cast<std::uint32_t>(AUDIT_ARCH_I386),
                                   static_cast<std::uint32_t>(AUDIT_ARCH_AARCH64), 0U})
    for (const std::uint32_t number : numbers)
      for (const std::uint64_t first : values)
        for (const std::uint64_t second : values) {
          const seccomp_data call{static_cast<int>(number), arch, 0, {first, second, first, 0, 0, 0}};
          const std::uint32_t expected = strictest(*lists, call);
          ASSERT_EQ(interpret(filter->program, call), expected)
              << "call " << number << " of " << std::hex << arch << "(" << first << ", " << second << ")";
          ++(expected == SECCOMP_RET_ALLOW ? allowed : refused);
        }
  EXPECT_GT(allowed, 100'000U);
  EXPECT_GT(refused, 100'000U);
  EXPECT_LT(filter->program.size(), (*lists)[0].size() * 2 / 3);
}

TEST(SeccompCompact, RefusesWhatItCannotTellApart) {
  const BpfProgram arithmetic = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
                                 {BPF_ALU | BPF_AND | BPF_K, 0, 0, 1},
                                 {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  EXPECT_FALSE(compact({&arithmetic, 1}, AUDIT_ARCH_X86_64));
  const BpfProgram endless = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)}};
  EXPECT_FALSE(compact({&endless, 1}, AUDIT_ARCH_X86_64));
  const BpfProgram looks = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, args)}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  const std::vector<BpfProgram> both = {looks, looks};
  EXPECT_FALSE(compact(both, AUDIT_ARCH_X86_64));
}

}  // namespace
}  // namespace bailiff::sandbox
