#include "server/api_json.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace bailiff::server {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDuplicates = 100;   // a fault list is for a person
constexpr std::size_t kMaxTokenBytes = 1024;  // of one pointer token: a key may be as long as the body

/// Builds the value bottom-up on an explicit stack: no recursion, so depth costs heap and is bounded, never the stack.
class Builder final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return add(nullptr); }
  bool boolean(bool v) override { return add(v); }
  bool number_integer(number_integer_t v) override { return add(v); }
  bool number_unsigned(number_unsigned_t v) override { return add(v); }
  bool number_float(number_float_t v, const string_t&) override { return add(v); }
  bool string(string_t& v) override { return add(std::move(v)); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& v) override {
    stack_.back().key = std::move(v);
    return true;
  }
  bool start_object(std::size_t) override { return open_container(json::object()); }
  bool start_array(std::size_t) override { return open_container(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    position_ = position;
    out_of_range_ = e.id == 406;  // nlohmann's number for "a number that does not fit"
    return false;
  }

  ParsedJson take() { return {std::move(root_), std::move(duplicates_)}; }
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] bool out_of_range() const { return out_of_range_; }

 private:
  struct Frame {
    json value;
    std::string key;  // of the member that comes next, in an object
  };

  bool open_container(json container) {
    if (stack_.size() >= kMaxJsonDepth) {
      refusal_ = fmt::format("the body nests deeper than {} levels", kMaxJsonDepth);
      return false;
    }
    if (!count()) return false;
    stack_.push_back({std::move(container), {}});
    return true;
  }

  bool close() {
    json value = std::move(stack_.back().value);
    stack_.pop_back();
    attach(std::move(value));
    return true;
  }

  template <class T>
  bool add(T&& value) {
    if (!count()) return false;
    attach(json(std::forward<T>(value)));
    return true;
  }

  bool count() {
    if (++values_ <= kMaxJsonValues) return true;
    refusal_ = fmt::format("the body has more than {} values", kMaxJsonValues);
    return false;
  }

  void attach(json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.value.is_array()) {
      frame.value.push_back(std::move(value));
      return;
    }
    auto& members = frame.value.get_ref<json::object_t&>();
    const bool fresh = members.emplace(frame.key, std::move(value)).second;
    if (!fresh && duplicates_.size() < kMaxDuplicates) duplicates_.push_back({path(), "this key stands more than once"});
  }

  /// Of the member just attached.
  [[nodiscard]] std::string path() const {
    std::string text;
    for (const Frame& frame : stack_) text = pointer_to(text, frame.value.is_array() ? std::to_string(frame.value.size()) : frame.key);
    return text;
  }

  std::vector<Frame> stack_;
  json root_;
  std::vector<Fault> duplicates_;
  std::string refusal_;
  std::size_t position_ = 0, values_ = 0;
  bool out_of_range_ = false;
};

/// nlohmann counts bytes from 1, and points at the last one it read.
std::string place(std::string_view text, std::size_t position) {
  const auto before = text.substr(0, position > 0 ? std::min(position - 1, text.size()) : 0);
  const auto line = 1 + std::ranges::count(before, '\n');
  const auto newline = before.rfind('\n');
  const auto column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  return fmt::format("line {}, column {} (byte {})", line, column, before.size());
}

}  // namespace

std::string pointer_to(std::string_view pointer, std::string_view token) {
  std::string text(pointer);
  text += '/';
  std::size_t end = std::min(token.size(), kMaxTokenBytes);
  while (end < token.size() && end > 0 && (static_cast<unsigned char>(token[end]) & 0xC0) == 0x80) --end;
  for (const char c : token.substr(0, end)) {
    if (c == '~') text += "~0";
    else if (c == '/') text += "~1";
    else text += c;
  }
  if (end < token.size()) text += "…";
  return text;
}

std::expected<ParsedJson, Problem> parse_json(std::string_view text) {
  // The lexer takes NUL for the end of its input, whatever follows; no JSON text has one.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    return std::unexpected(Problem{400, "the body is not valid JSON at " + place(text, nul + 1), {}, {}});
  Builder builder;
  try {
    if (json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  } catch (const json::exception&) {
    return std::unexpected(Problem{400, "the body is not valid JSON", {}, {}});
  }
  if (!builder.refusal().empty()) return std::unexpected(Problem{400, builder.refusal(), {}, {}});
  const auto at = place(text, builder.position());
  if (builder.out_of_range()) return std::unexpected(Problem{400, "the body has a number that is out of range, at " + at, {}, {}});
  const bool at_end = builder.position() > text.size();
  const char* what = text.empty() ? "the body is empty; a JSON object is wanted" : "the body ends in the middle of its JSON";
  return std::unexpected(Problem{400, at_end ? what : "the body is not valid JSON at " + at, {}, {}});
}

}  // namespace bailiff::server
