#include "server/api_fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "core/json/json.h"
#include "server/api_json.h"
#include "server/api_request.h"
#include "server/blob_content.h"

namespace bailiff::server {
namespace {

using nlohmann::json;

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

void wrong_type(const json& value, const char* wanted, const Path& at, Faults& faults) {
  faults.add(at, fmt::format("must be {}, not {}", wanted, shown(value)));
}

/// A limit's value in the unit of its JSON field.
std::string in_json_unit(std::uint64_t value, std::uint64_t scale) {
  if (value % scale == 0) return std::to_string(value / scale);
  return fmt::format("{}", static_cast<double>(value) / static_cast<double>(scale));
}

/// The value in the member's unit, rounded to it; nothing where it is negative or not even a 64-bit number would hold it.
std::optional<std::uint64_t> scaled(const json& value, std::uint64_t scale) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > UINT64_MAX / scale) return std::nullopt;
    return number * scale;
  }
  const double number = value.get<double>() * static_cast<double>(scale);
  if (!(number >= 0) || number >= 0x1p63) return std::nullopt;
  return static_cast<std::uint64_t>(std::llround(number));
}

std::optional<std::uint64_t> read_limit(const json& value, const core::LimitField& field, std::uint64_t ceiling, const Path& at,
                                        Faults& faults) {
  if (!value.is_number()) {
    wrong_type(value, "a number", at, faults);
    return std::nullopt;
  }
  if (field.scale == 1 && value.is_number_float() && value.get<double>() != std::floor(value.get<double>())) {
    faults.add(at, fmt::format("must be a whole number, not {}", shown(value)));
    return std::nullopt;
  }
  const auto number = scaled(value, field.scale);
  const bool negative = value.get<double>() < 0;
  if (negative || (number && field.order(*number) < field.order(field.floor))) {
    faults.add(at, fmt::format("{} is below the floor of {}", shown(value), in_json_unit(field.floor, field.scale)));
    return std::nullopt;
  }
  if (!number || field.order(*number) > field.order(ceiling)) {
    const bool is_none = field.zero_is_none && number == 0;
    const std::string what = is_none ? "0 (none)" : shown(value);
    faults.add(at, fmt::format("{} is above this server's ceiling of {}", what, in_json_unit(ceiling, field.scale)));
    return std::nullopt;
  }
  return number;
}

}  // namespace

std::string Path::pointer() const {
  if (parent_ == nullptr) return {};
  return pointer_to(parent_->pointer(), name_.data() != nullptr ? std::string(name_) : std::to_string(index_));
}

void Faults::add(const Path& at, std::string detail) {
  if (list_.size() < kMost) list_.push_back({at.pointer(), std::move(detail)});
}

Members::Members(const json& value, const Path& at, Faults& faults)
    : object_(value.is_object() ? &value : nullptr), at_(at), faults_(faults) {
  if (object_ == nullptr) wrong_type(value, "an object", at, faults);
}

const json* Members::find(std::string_view name) {
  known_.insert(name);
  if (object_ == nullptr) return nullptr;
  const auto member = object_->find(name);
  return member == object_->end() ? nullptr : &*member;
}

void Members::refuse_others() {
  if (object_ == nullptr) return;
  for (const auto& [name, value] : object_->items())
    if (!known_.contains(name)) faults_.add(at_.key(name), fmt::format("unknown field {}", shown(json(name))));
}

std::string shown(const json& value) {
  constexpr std::size_t kMost = 80;
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (!value.is_string() || value.get_ref<const std::string&>().size() <= kMost) return value.dump();
  std::string text = value.get_ref<const std::string&>().substr(0, kMost);
  return json(text + "…").dump(-1, ' ', false, json::error_handler_t::ignore);
}

std::optional<bool> read_bool(const json& value, const Path& at, Faults& faults) {
  if (value.is_boolean()) return value.get<bool>();
  wrong_type(value, "true or false", at, faults);
  return std::nullopt;
}

std::optional<std::int64_t> read_integer(const json& value, std::int64_t least, std::int64_t most, const Path& at, Faults& faults) {
  const double number = value.is_number() ? value.get<double>() : 0;
  if (!value.is_number() || number != std::floor(number)) {
    wrong_type(value, "a whole number", at, faults);
    return std::nullopt;
  }
  if (number >= static_cast<double>(least) && number <= static_cast<double>(most)) return static_cast<std::int64_t>(number);
  faults.add(at, fmt::format("must be from {} to {}, not {}", least, most, shown(value)));
  return std::nullopt;
}

std::optional<double> read_amount(const json& value, double most, const Path& at, Faults& faults) {
  if (!value.is_number()) {
    wrong_type(value, "a number", at, faults);
    return std::nullopt;
  }
  const double number = value.get<double>();
  if (number >= 0 && number <= most) return number;
  faults.add(at, fmt::format("must be from 0 to {}, not {}", most, shown(value)));
  return std::nullopt;
}

std::optional<std::string> read_string(const json& value, std::size_t most_bytes, const Path& at, Faults& faults) {
  if (!value.is_string()) {
    wrong_type(value, "a string", at, faults);
    return std::nullopt;
  }
  const auto& text = value.get_ref<const std::string&>();
  if (has_nul(text)) {
    faults.add(at, "must not contain a NUL character");
    return std::nullopt;
  }
  if (text.size() > most_bytes) {
    faults.add(at, fmt::format("has {} bytes; at most {} are allowed", text.size(), most_bytes));
    return std::nullopt;
  }
  return text;
}

std::optional<std::string> read_name(const json& value, const Path& at, Faults& faults) {
  auto text = read_string(value, kMaxNameBytes, at, faults);
  if (!text) return std::nullopt;
  if (!text->empty() && !has_control(*text)) return text;
  faults.add(at, text->empty() ? "must not be empty" : "must not contain control characters");
  return std::nullopt;
}

std::optional<core::Content> read_content(const json& value, const Path& at, Faults& faults) {
  if (value.is_string()) return core::Content{value.get_ref<const std::string&>(), std::nullopt};
  if (!value.is_object() || value.size() != 1) {
    wrong_type(value, R"(a string, {"base64": "…"} or {"blob": "sha256:…"})", at, faults);
    return std::nullopt;
  }
  if (value.contains("blob")) {
    const json& digest = value["blob"];
    if (digest.is_string() && is_blob_digest(digest.get_ref<const std::string&>())) return core::Content{"", digest.get<std::string>()};
    faults.add(at.key("blob"), "must be sha256: and 64 hexadecimal digits in lower case");
    return std::nullopt;
  }
  Members members(value, at, faults);
  const json* base64 = members.find("base64");
  members.refuse_others();
  if (base64 == nullptr) return std::nullopt;
  const Path place = at.key("base64");
  if (!base64->is_string()) {
    wrong_type(*base64, "a string", place, faults);
    return std::nullopt;
  }
  if (auto bytes = core::base64_decode(base64->get_ref<const std::string&>())) return core::Content{std::move(*bytes), std::nullopt};
  faults.add(place, "is not base64 (RFC 4648, section 4, with padding)");
  return std::nullopt;
}

bool check_list(const json& value, std::size_t most, const Path& at, Faults& faults) {
  if (!value.is_array()) {
    wrong_type(value, "a list", at, faults);
    return false;
  }
  if (value.size() <= most) return true;
  faults.add(at, fmt::format("has {} items; at most {} are allowed", value.size(), most));
  return false;
}

std::vector<std::string> read_arguments(const json& value, const Path& at, Faults& faults) {
  std::vector<std::string> arguments;
  if (!check_list(value, kMaxArguments, at, faults)) return arguments;
  std::size_t total = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto text = read_string(value[i], kMaxStringBytes, at.item(i), faults);
    if (!text) continue;
    total += text->size() + 1;
    arguments.push_back(std::move(*text));
  }
  if (total > kMaxStringsBytes) faults.add(at, fmt::format("has {} bytes in all; at most {} are allowed", total, kMaxStringsBytes));
  return arguments;
}

core::Environment read_environment(const json& value, const Path& at, Faults& faults) {
  core::Environment environment;
  if (!value.is_object()) {
    wrong_type(value, "an object of strings", at, faults);
    return environment;
  }
  if (value.size() > kMaxVariables) {
    faults.add(at, fmt::format("has {} variables; at most {} are allowed", value.size(), kMaxVariables));
    return environment;
  }
  std::size_t total = 0;
  for (const auto& [name, member] : value.items()) {
    const Path place = at.key(name);
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name))
      faults.add(place, "a variable's name must not be empty and must contain neither '=' nor NUL");
    auto text = read_string(member, kMaxStringBytes - std::min(kMaxStringBytes, name.size() + 1), place, faults);
    if (!text) continue;
    total += name.size() + text->size() + 2;
    environment.emplace(name, std::move(*text));
  }
  if (total > kMaxStringsBytes) faults.add(at, fmt::format("has {} bytes in all; at most {} are allowed", total, kMaxStringsBytes));
  return environment;
}

core::LimitOverrides read_limits(const json& value, const core::Limits& ceiling, const Path& at, Faults& faults) {
  core::LimitOverrides overrides;
  Members members(value, at, faults);
  for (std::size_t i = 0; i < core::kLimitCount; ++i) {
    const auto& field = core::kLimitFields[i];
    if (const json* member = members.find(field.name))
      overrides.values[i] = read_limit(*member, field, ceiling.*field.member, at.key(field.name), faults);
  }
  members.refuse_others();
  return overrides;
}

std::map<std::string, std::string> read_labels(const json& value, const Path& at, Faults& faults) {
  std::map<std::string, std::string> labels;
  if (!value.is_object()) {
    wrong_type(value, "an object of strings", at, faults);
    return labels;
  }
  if (value.size() > kMaxLabels) {
    faults.add(at, fmt::format("has {} labels; at most {} are allowed", value.size(), kMaxLabels));
    return labels;
  }
  for (const auto& [name, member] : value.items()) {
    const Path place = at.key(name);
    if (name.empty() || name.size() > kMaxLabelKeyBytes || name.find(':') != std::string::npos || has_control(name))
      faults.add(place, fmt::format("a label's name has 1 to {} bytes, no ':' and no control characters", kMaxLabelKeyBytes));
    if (auto text = read_string(member, kMaxLabelValueBytes, place, faults)) labels.emplace(name, std::move(*text));
  }
  return labels;
}

}  // namespace bailiff::server
