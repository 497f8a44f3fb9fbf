#include "cli/raw_terminal.h"

#include <unistd.h>

namespace bailiff::cli {

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios now{};
  if (::tcgetattr(fd, &now) != 0) return;
  before_ = now;
  ::cfmakeraw(&now);
  (void)::tcsetattr(fd, TCSADRAIN, &now);
}

RawTerminal::~RawTerminal() {
  if (before_) (void)::tcsetattr(fd_, TCSADRAIN, &*before_);
}

std::optional<winsize> terminal_size() {
  winsize size{};
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) return size;
  return std::nullopt;
}

}  // namespace bailiff::cli
