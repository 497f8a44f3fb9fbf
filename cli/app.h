#pragma once
// The command line of `bailiff`: which command, with which options.
#include <string>
#include <vector>

#include "cli/terminal.h"

namespace bailiff::cli {

/// Parses, runs the command, prints; the process's exit code. `arguments` without the program's name.
[[nodiscard]] int run_app(std::vector<std::string> arguments, const Console& console);

/// "--wait" followed by a number of seconds becomes "--wait=N", so that in "--wait FILE" the file is not taken for a number.
/// Nothing after "--" is touched.
[[nodiscard]] std::vector<std::string> join_wait(std::vector<std::string> arguments);

}  // namespace bailiff::cli
