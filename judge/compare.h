#pragma once
// The pieces that every comparison is made of: tokens and lines of a text as they come, and excerpts of it fit for a message.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bailiff::judge {

/// A piece of a text: a token, or a line without its trailing white space.
struct Piece {
  std::string_view text;
  std::uint64_t line = 1;  // where it starts, from 1
};

/// ASCII white space, whatever the locale.
[[nodiscard]] constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// The tokens of a text, one at a time.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : rest_(text) {}
  std::optional<Piece> next();

 private:
  std::string_view rest_;
  std::uint64_t line_ = 1;
};

/// The lines of a text, one at a time, without trailing white space; nothing after the last line that has anything else.
class Lines {
 public:
  explicit Lines(std::string_view text);
  std::optional<Piece> next();

 private:
  std::string_view rest_;
  std::uint64_t line_ = 0;
};

/// The value of a token that is a decimal number ("1", "-2.5e3", "+.5", "inf", "nan"; never hexadecimal). One too small for a double
/// is 0; one too large is not a value, so that it equals only the same text.
[[nodiscard]] std::optional<double> decimal_number(std::string_view token);

/// Index of the first byte at which the two differ; the shorter one's size where it begins the other.
[[nodiscard]] std::size_t first_difference(std::string_view a, std::string_view b);

/// The text in quotes, in printable ASCII, at most kExcerptBytes of it, with byte `around` in view; "..." where something was left out.
inline constexpr std::size_t kExcerptBytes = 60;
[[nodiscard]] std::string excerpt(std::string_view text, std::size_t around);

}  // namespace bailiff::judge
