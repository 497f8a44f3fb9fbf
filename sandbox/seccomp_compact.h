#pragma once
// Makes one small BPF program of several: a binary search over ranges of system call numbers instead of a list of numbers. The kernel's
// price for installing a filter is its length (translation, and a trial of every call number), and each sandbox pays it.
#include <span>

#include "core/result.h"
#include "sandbox/seccomp_filter.h"

namespace bailiff::sandbox {

/// One program that decides as all of `programs` together do (seccomp(2): the most restrictive decision holds), for calls of the
/// architecture `arch` (AUDIT_ARCH_*) and of any other. Exact: a program compares the call number with constants only, so one number of
/// each range between the constants stands for all of it, and code that looks at arguments is copied. Fails on programs beyond that:
/// arithmetic on the number, or two programs that both look at the arguments of one call.
core::Result<BpfProgram> compact(std::span<const BpfProgram> programs, std::uint32_t arch);

}  // namespace bailiff::sandbox
