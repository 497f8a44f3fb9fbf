#pragma once
#include <string_view>

namespace bailiff::sandbox {

/// True when `path` (relative, "/"-separated) matches `pattern`: * ? [] within a component, "**" for any number of components.
[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view path);

}  // namespace bailiff::sandbox
