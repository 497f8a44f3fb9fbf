#pragma once
// Reading the members of a JSON object from a stranger: each reader notes a fault with its pointer and goes on, so that one answer
// lists every fault.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/job.h"
#include "core/limits.h"
#include "server/api_problem.h"

namespace bailiff::server {

/// A place in the body. Refers to its parent and to the key, which must outlive it; the text is made only when there is a fault.
class Path {
 public:
  Path() = default;
  [[nodiscard]] Path key(std::string_view name) const { return {this, name, 0}; }
  [[nodiscard]] Path item(std::size_t index) const { return {this, {}, index}; }
  [[nodiscard]] std::string pointer() const;

 private:
  Path(const Path* parent, std::string_view name, std::size_t index) : parent_(parent), name_(name), index_(index) {}
  const Path* parent_ = nullptr;
  std::string_view name_;
  std::size_t index_ = 0;
};

class Faults {
 public:
  static constexpr std::size_t kMost = 1000;  // a body can be wrong in a million places
  void add(const Path& at, std::string detail);
  [[nodiscard]] bool empty() const { return list_.empty(); }
  std::vector<Fault> take() { return std::move(list_); }

 private:
  std::vector<Fault> list_;
};

/// The members of one object. A value that is no object is a fault, and has no members.
class Members {
 public:
  Members(const nlohmann::json& value, const Path& at, Faults& faults);
  /// nullptr where it is absent. Every name asked for is a known one.
  const nlohmann::json* find(std::string_view name);
  /// A fault for each member that nobody asked for.
  void refuse_others();
  [[nodiscard]] bool is_object() const { return object_ != nullptr; }

 private:
  const nlohmann::json* object_;
  const Path& at_;
  Faults& faults_;
  std::set<std::string_view> known_;
};

/// A short text of a value for a message; long strings are cut.
[[nodiscard]] std::string shown(const nlohmann::json& value);

std::optional<bool> read_bool(const nlohmann::json& value, const Path& at, Faults& faults);
std::optional<std::int64_t> read_integer(const nlohmann::json& value, std::int64_t least, std::int64_t most, const Path& at,
                                         Faults& faults);
/// A finite number in [0, most].
std::optional<double> read_amount(const nlohmann::json& value, double most, const Path& at, Faults& faults);
/// A string without NUL of at most `most_bytes`.
std::optional<std::string> read_string(const nlohmann::json& value, std::size_t most_bytes, const Path& at, Faults& faults);
/// A name for people: not empty, no control characters, at most kMaxNameBytes.
std::optional<std::string> read_name(const nlohmann::json& value, const Path& at, Faults& faults);
/// A string, {"base64": …} or {"blob": "sha256:…"}; of a blob no more is looked at than its name.
std::optional<core::Content> read_content(const nlohmann::json& value, const Path& at, Faults& faults);
/// A list of strings that an exec can take.
std::vector<std::string> read_arguments(const nlohmann::json& value, const Path& at, Faults& faults);
core::Environment read_environment(const nlohmann::json& value, const Path& at, Faults& faults);
/// Each value against its floor and the server's ceiling.
core::LimitOverrides read_limits(const nlohmann::json& value, const core::Limits& ceiling, const Path& at, Faults& faults);
std::map<std::string, std::string> read_labels(const nlohmann::json& value, const Path& at, Faults& faults);

/// The faults that a list of more than `most` items is; false then.
bool check_list(const nlohmann::json& value, std::size_t most, const Path& at, Faults& faults);

}  // namespace bailiff::server
