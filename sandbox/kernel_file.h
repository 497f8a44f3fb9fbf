#pragma once
// Small kernel files (cgroupfs, procfs): one value written or read in one call.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

core::Status write_kernel_file(const std::string& path, std::string_view text);
core::Result<std::string> read_kernel_file(const std::string& path);
/// The same on an open descriptor, at offset 0.
core::Status write_kernel_file(int fd, std::string_view text);
core::Result<std::string> read_kernel_file(int fd);
/// The first line; empty where the file cannot be read.
std::string kernel_line(const std::string& path);
/// The first unsigned number in a file; "max" is the largest number.
core::Result<std::uint64_t> read_kernel_number(int fd);
/// The number after "key " at the start of a line of a flat-keyed file; 0 where there is none.
std::uint64_t keyed_number(std::string_view text, std::string_view key);
/// Opens for reading, kept open for repeated reads.
core::Result<core::Fd> open_kernel_file(const std::string& path, int flags);

}  // namespace bailiff::sandbox
