#include "core/limits.h"

#include <algorithm>

namespace bailiff::core {

std::optional<std::size_t> limit_index(std::string_view name) {
  for (std::size_t i = 0; i < kLimitCount; ++i)
    if (name == kLimitFields[i].name) return i;
  return std::nullopt;
}

Limits default_limits() {
  Limits limits{};
  for (const auto& field : kLimitFields) limits.*field.member = field.default_value;
  return limits;
}

Limits ceiling_limits() {
  Limits limits{};
  for (const auto& field : kLimitFields) limits.*field.member = field.ceiling;
  return limits;
}

Limits apply(Limits base, const LimitOverrides& over) {
  for (std::size_t i = 0; i < kLimitCount; ++i)
    if (over.values[i]) base.*kLimitFields[i].member = *over.values[i];
  return base;
}

Limits at_most(Limits base, const Limits& ceiling) {
  for (const auto& field : kLimitFields)
    if (field.order(base.*field.member) > field.order(ceiling.*field.member)) base.*field.member = ceiling.*field.member;
  return base;
}

}  // namespace bailiff::core
