#pragma once
// Failure: why a command could not do its work, in one line, and what the user can do next.
#include <expected>
#include <string>
#include <utility>

#include "cli/exit_code.h"
#include "core/json/json.h"

namespace bailiff::cli {

struct Failure {
  ExitCode code = kExitInternal;
  std::string what;    // one line; may hold bytes from elsewhere, so it is sanitised where it is printed
  std::string next;    // what to do; empty where nothing can be said
  core::Json problem;  // the server's problem document, null where there is none
};

template <class T>
using Expected = std::expected<T, Failure>;

[[nodiscard]] inline std::unexpected<Failure> failure(ExitCode code, std::string what, std::string next = "") {
  return std::unexpected(Failure{code, std::move(what), std::move(next), nullptr});
}

}  // namespace bailiff::cli
