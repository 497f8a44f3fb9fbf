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
    const auto open = text.find('{'), close = text.find('}');
    const bool variable = open != std::string_view::npos;
    segments.push_back({std::string(variable ? text.substr(close + 1) : text), std::string(variable ? text.substr(0, open) : ""), variable,
                        text.ends_with("*}")});
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  }
  patterns_.push_back(std::move(segments));
  routes_.push_back(std::move(route));
}

bool Router::fits(const std::vector<Segment>& pattern, const std::vector<std::string>& path, std::vector<std::string>& values) {
  const bool open = !pattern.empty() && pattern.back().rest;
  if (open ? path.size() < pattern.size() : path.size() != pattern.size()) return false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto& part = pattern[i];
    const std::string_view text = path[i];
    if (!part.variable) {
      if (part.fixed != text) return false;
      continue;
    }
    if (part.rest) {
      std::string rest;
      for (std::size_t j = i; j < path.size(); ++j) rest += (j > i ? "/" : "") + path[j];
      values.push_back(std::move(rest));
      return !values.back().empty();
    }
    if (text.size() <= part.before.size() + part.fixed.size() || !text.starts_with(part.before) || !text.ends_with(part.fixed))
      return false;
    values.emplace_back(text.substr(part.before.size(), text.size() - part.before.size() - part.fixed.size()));
    // A colon begins an action, so that "/jobs/{id}" does not also answer for "/jobs/x:unknown".
    if (values.back().find(':') != std::string::npos) return false;
  }
  return true;
}

Match Router::match(std::string_view method, const Target& target) const {
  Match match;
  std::vector<std::string> allowed;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const auto& pattern = patterns_[i];
    std::vector<std::string> values;
    if (!fits(pattern, target.segments, values)) continue;
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
