#include "cli/exit_code.h"

namespace bailiff::cli {

ExitCode exit_code(core::Verdict verdict) {
  switch (verdict) {
    case core::Verdict::ok:
    case core::Verdict::accepted: return kExitOk;
    case core::Verdict::runtime_error: return kExitRuntimeError;
    case core::Verdict::wrong_answer: return kExitWrongAnswer;
    case core::Verdict::compile_error: return kExitCompileError;
    case core::Verdict::time_limit_exceeded: return kExitTimeLimit;
    case core::Verdict::wall_time_limit_exceeded: return kExitWallTimeLimit;
    case core::Verdict::memory_limit_exceeded: return kExitMemoryLimit;
    case core::Verdict::output_limit_exceeded: return kExitOutputLimit;
    case core::Verdict::cancelled: return kExitCancelled;
    case core::Verdict::internal_error: return kExitInternal;
  }
  return kExitInternal;
}

std::string exit_code_help() {
  return "Exit codes: 0 ok or accepted, 1 runtime_error, 2 wrong_answer, 3 compile_error, 4 time_limit_exceeded,\n"
         "5 wall_time_limit_exceeded, 6 memory_limit_exceeded, 7 output_limit_exceeded, 8 cancelled, 9 not finished yet;\n"
         "64 usage, 65 request refused, 66 unreadable file, 67 unknown job, 69 no server or incapable host, 70 internal_error,\n"
         "75 try again later, 77 no permission.";
}

}  // namespace bailiff::cli
