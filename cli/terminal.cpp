#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "core/json/json.h"

namespace bailiff::cli {
namespace {

struct CodePoint {
  char32_t value;
  std::size_t bytes;
};

/// The first code point of valid UTF-8.
CodePoint first_code_point(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t value = lead & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) value = value << 6 | (at(i) & 0x3FU);
  return {value, bytes};
}

bool reorders_text(char32_t c) {
  return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string sanitise(std::string_view bytes) {
  const std::string valid = core::to_utf8(bytes);
  std::string text;
  text.reserve(valid.size());
  for (std::string_view rest = valid; !rest.empty();) {
    const auto [c, length] = first_code_point(rest);
    if (c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7F)) {
      text += rest.front();
    } else if (c < 0x20 || c == 0x7F) {
      text += '^';
      text += static_cast<char>(c ^ 0x40);
    } else if (c < 0xA0 || reorders_text(c)) {
      text += fmt::format("<U+{:04X}>", static_cast<unsigned>(c));
    } else {
      text += rest.substr(0, length);
    }
    rest.remove_prefix(length);
  }
  return text;
}

std::string sanitise_line(std::string_view bytes) {
  std::string text = sanitise(bytes);
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return text;
}

std::string Paint::operator()(Colour colour, std::string_view text) const {
  if (!on_ || colour == Colour::none || text.empty()) return std::string(text);
  const char* code = "";
  switch (colour) {
    case Colour::none: break;
    case Colour::red: code = "31"; break;
    case Colour::green: code = "32"; break;
    case Colour::yellow: code = "33"; break;
    case Colour::dim: code = "2"; break;
    case Colour::bold: code = "1"; break;
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

Stream::Stream(int fd) : fd_(fd), terminal_(::isatty(fd) == 1), paint_(false) {
  // https://no-color.org: any value but the empty one counts.
  const char *no_color = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
  const bool unwelcome = (no_color != nullptr && *no_color != '\0') || (term != nullptr && std::string_view(term) == "dumb");
  paint_ = Paint(terminal_ && !unwelcome);
}

core::Status Stream::write(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return core::errno_error("write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

core::Status Stream::write_program_output(std::string_view bytes) const { return write(terminal_ ? sanitise(bytes) : std::string(bytes)); }

}  // namespace bailiff::cli
