#pragma once
// What reaches the user's terminal: colours where they are welcome, and no control byte of anybody else's making.
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::cli {

/// Valid UTF-8 in which every control character but line feed and tab is shown (ESC as ^[, U+009B as <U+009B>), and so are the
/// invisible ones that reorder text (bidirectional overrides). Invalid bytes become U+FFFD.
[[nodiscard]] std::string sanitise(std::string_view bytes);
/// The same on one line: line feeds and tabs are spaces.
[[nodiscard]] std::string sanitise_line(std::string_view bytes);

enum class Colour { none, red, green, yellow, dim, bold };

/// Wraps text in colours, or leaves it as it is.
class Paint {
 public:
  explicit Paint(bool on) : on_(on) {}
  [[nodiscard]] std::string operator()(Colour colour, std::string_view text) const;

 private:
  bool on_;
};

/// One of our own output streams.
class Stream {
 public:
  /// Looks at the descriptor and at NO_COLOR and TERM.
  explicit Stream(int fd);
  Stream(int fd, bool terminal, bool colours) : fd_(fd), terminal_(terminal), paint_(colours) {}
  [[nodiscard]] bool is_terminal() const { return terminal_; }
  [[nodiscard]] const Paint& paint() const { return paint_; }
  /// All of `text` as it is. Fails when the reader is gone or the disk is full.
  core::Status write(std::string_view text) const;
  /// A program's output: as it is into a file or pipe, sanitised onto a terminal.
  core::Status write_program_output(std::string_view bytes) const;

 private:
  int fd_;
  bool terminal_;
  Paint paint_;
};

/// Our standard output and standard error.
struct Console {
  Stream out, err;
};

}  // namespace bailiff::cli
