#pragma once
// What `bailiff` tells the shell. 0-9: what became of the program, one code a verdict; 64 and above (as in sysexits.h): what became of us.
#include <string>

#include "core/verdict.h"

namespace bailiff::cli {

enum ExitCode : int {
  kExitOk = 0,  // ok, accepted
  kExitRuntimeError = 1,
  kExitWrongAnswer = 2,
  kExitCompileError = 3,
  kExitTimeLimit = 4,
  kExitWallTimeLimit = 5,
  kExitMemoryLimit = 6,
  kExitOutputLimit = 7,
  kExitCancelled = 8,
  kExitUnfinished = 9,     // the job still runs or waits when the time to wait for it is over
  kExitUsage = 64,         // the command line
  kExitRefused = 65,       // the server says that the request is wrong
  kExitNoInput = 66,       // a file that cannot be read
  kExitNotFound = 67,      // the server does not know that job
  kExitUnavailable = 69,   // no server, or a host that lacks something
  kExitInternal = 70,      // verdict internal_error, and every failure of our own
  kExitTryLater = 75,      // queue full, draining
  kExitNoPermission = 77,  // root or an API key is needed
};

[[nodiscard]] ExitCode exit_code(core::Verdict verdict);
/// The table above in words, for --help.
[[nodiscard]] std::string exit_code_help();

}  // namespace bailiff::cli
