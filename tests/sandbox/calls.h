#pragma once
// System calls that a program must not have, one a row.
#include <string>
#include <vector>

namespace bailiff::sandbox::testing {

struct Call {
  std::string what;
  int error;  // 0: it succeeds, and does nothing
  long number;
  std::vector<std::string> arguments;  // as the victim `calls` reads them
};

std::vector<Call> namespace_calls();
std::vector<Call> mount_calls();
std::vector<Call> kernel_calls();
std::vector<Call> process_calls();
/// What would reach the host's disks, or what all have cached.
std::vector<Call> quiet_calls();
/// Devices, writing to the image and to /proc, and what tells of the host.
std::vector<Call> file_calls();

/// What the victim `calls` reads on stdin to make them.
std::string script_of(const std::vector<Call>& calls);
/// Expects that what it printed is each call's own error, and no other.
void expect_refused(const std::string& printed, const std::vector<Call>& calls);

}  // namespace bailiff::sandbox::testing
