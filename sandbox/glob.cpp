#include "sandbox/glob.h"

#include <fnmatch.h>

#include <string>

namespace bailiff::sandbox {
namespace {

std::string_view first(std::string_view text) { return text.substr(0, text.find('/')); }
std::string_view after(std::string_view text) {
  const auto slash = text.find('/');
  return slash == text.npos ? std::string_view{} : text.substr(slash + 1);
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view path) {
  // The classic two-pointer match with one point to go back to, over components: linear where recursion would be exponential.
  std::string_view retry_pattern, retry_path;
  bool can_retry = false;
  while (!path.empty()) {
    const auto component = first(pattern);
    if (component == "**") {
      pattern = retry_pattern = after(pattern);
      retry_path = path;
      can_retry = true;
      if (pattern.empty()) return true;
      continue;
    }
    if (!pattern.empty() && fnmatch(std::string(component).c_str(), std::string(first(path)).c_str(), FNM_NOESCAPE) == 0) {
      pattern = after(pattern);
      path = after(path);
      if (!pattern.empty() || path.empty()) continue;
    }
    if (!can_retry) return false;
    pattern = retry_pattern;
    path = retry_path = after(retry_path);
  }
  while (first(pattern) == "**" && !pattern.empty()) pattern = after(pattern);
  return pattern.empty();
}

}  // namespace bailiff::sandbox
