#include "server/http_router.h"

#include <algorithm>
#include <utility>

namespace bailiff::server {

void Router::add(Route route) {
  std::vector<Segment> segments;
  std::string_view rest = std::string_view(route.pattern).substr(1);
  while (!rest.empty()) {
    const auto slash = rest.find('/');
    const auto text = rest.substr(0, slash);
    const auto close = text.find('}');
    const bool variable = text.starts_with('{');
    segments.push_back({std::string(variable ? text.substr(close + 1) : text), variable});
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  }
  patterns_.push_back(std::move(segments));
  routes_.push_back(std::move(route));
}

Match Router::match(std::string_view method, const Target& target) const {
  Match match;
  std::vector<std::string> allowed;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const auto& pattern = patterns_[i];
    std::vector<std::string> values;
    const bool fits = std::ranges::equal(pattern, target.segments, [&](const Segment& part, const std::string& text) {
      if (!part.variable) return part.fixed == text;
      if (!text.ends_with(part.fixed)) return false;
      values.push_back(text.substr(0, text.size() - part.fixed.size()));
      // A colon begins an action, so that "/jobs/{id}" does not also answer for "/jobs/x:unknown".
      return !values.back().empty() && values.back().find(':') == std::string::npos;
    });
    if (!fits) continue;
    allowed.push_back(routes_[i].method);
    if (routes_[i].method == "GET") allowed.emplace_back("HEAD");
    if (routes_[i].method == method || (method == "HEAD" && routes_[i].method == "GET")) {
      match.route = &routes_[i];
      match.path_values = std::move(values);
    }
  }
  if (allowed.empty()) return match;
  allowed.emplace_back("OPTIONS");
  for (const auto& one : allowed) match.allow += (match.allow.empty() ? "" : ", ") + one;
  return match;
}

}  // namespace bailiff::server
