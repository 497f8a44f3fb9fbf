#pragma once
// Result<T>: what we could not do. What a program did is never an Error: that is an Outcome (core/outcome.h).
#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <utility>

namespace bailiff::core {

enum class ErrorKind {
  internal,     // our fault or the host's; worth a retry where a retry can help
  invalid,      // the caller's input is wrong; a retry gives the same answer
  not_found,    // the thing named does not exist
  conflict,     // the thing is not in the state that the call needs
  unavailable,  // full, draining, read-only: later it may work
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string what;   // one line, for an operator; may name host paths, so it never goes to a client as it is
  int sys_errno = 0;  // errno of the failed call, 0 where there was none
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// An Error from the current errno: "what: strerror".
[[nodiscard]] inline std::unexpected<Error> errno_error(std::string what) {
  const int number = errno;
  return std::unexpected(Error{ErrorKind::internal, std::move(what) + ": " + std::strerror(number), number});
}

[[nodiscard]] inline std::unexpected<Error> error(ErrorKind kind, std::string what) {
  return std::unexpected(Error{kind, std::move(what), 0});
}

}  // namespace bailiff::core
