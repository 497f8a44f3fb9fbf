#pragma once
// The API's definition (OpenAPI 3.1), compiled in from server/openapi.json.
#include <string_view>

namespace bailiff::server {

[[nodiscard]] std::string_view openapi_document();

}  // namespace bailiff::server
