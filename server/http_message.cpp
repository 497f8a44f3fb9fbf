#include "server/http_message.h"

#include "server/http_fields.h"

namespace bailiff::server {

std::optional<std::string> Request::header(std::string_view name) const {
  std::optional<std::string> joined;
  for (const auto& [field, value] : headers) {
    if (!equals_ignoring_case(field, name)) continue;
    if (joined) *joined += ", " + value;
    else joined = value;
  }
  return joined;
}

}  // namespace bailiff::server
