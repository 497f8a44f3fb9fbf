#pragma once
// Our own terminal, handed over to a program somewhere else.
#include <sys/ioctl.h>
#include <termios.h>

#include <optional>

namespace bailiff::cli {

/// While it lives, what is typed goes through as it is: no echo, no lines, no signals. Does nothing where the descriptor is no terminal.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  /// As it was before.
  ~RawTerminal();

 private:
  int fd_;
  std::optional<termios> before_;
};

/// Rows and columns of the terminal that one of our standard streams is; nothing where none is.
[[nodiscard]] std::optional<winsize> terminal_size();

}  // namespace bailiff::cli
