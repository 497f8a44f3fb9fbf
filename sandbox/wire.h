#pragma once
// The flat binary form of messages between caller, launcher, slot and init: host byte order (all ends are one machine), fixed-width
// numbers, length-prefixed strings. The reader never reads past its input and remembers the first fault instead of throwing.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace bailiff::sandbox {

class WireWriter {
 public:
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put_string(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    bytes_.append(text);
  }
  void put_strings(const std::vector<std::string>& texts) {
    put(static_cast<std::uint32_t>(texts.size()));
    for (const auto& text : texts) put_string(text);
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put_values(const std::vector<T>& values) {
    put(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) put(value);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
    requires std::is_trivially_copyable_v<T>
  T take() {
    if constexpr (std::is_same_v<T, bool>) {
      const auto byte = take<std::uint8_t>();
      if (byte > 1) fail();  // in a bool it would be no value at all
      return byte == 1;
    }
    T value{};
    if (rest_.size() < sizeof value) {
      fail();
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string take_string() {
    const auto size = take<std::uint32_t>();
    if (size > rest_.size()) {
      fail();
      return {};
    }
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }
  std::vector<std::string> take_strings() {
    const auto count = take<std::uint32_t>();
    std::vector<std::string> texts;
    // Every string costs at least its length prefix, so a count beyond that is a lie and no memory is reserved for it.
    if (count > rest_.size() / sizeof(std::uint32_t)) fail();
    for (std::uint32_t i = 0; i < count && ok_; ++i) texts.push_back(take_string());
    return texts;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::vector<T> take_values() {
    const auto count = take<std::uint32_t>();
    std::vector<T> values;
    if (count > rest_.size() / sizeof(T)) fail();
    for (std::uint32_t i = 0; i < count && ok_; ++i) values.push_back(take<T>());
    return values;
  }
  /// False after the first thing that was not there.
  [[nodiscard]] bool ok() const { return ok_; }
  /// True when everything asked for was there and nothing is left.
  [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }

 private:
  void fail() {
    ok_ = false;
    rest_ = {};
  }
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace bailiff::sandbox
