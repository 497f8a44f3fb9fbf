#include "server/api_problem.h"

#include <boost/beast/http/status.hpp>
#include <nlohmann/json.hpp>

namespace bailiff::server {

std::string_view status_title(unsigned status) {
  switch (status) {
    case 413: return "Content Too Large";      // Beast has the names of RFC 7231;
    case 422: return "Unprocessable Content";  // those of RFC 9110 differ in these two
    default: break;
  }
  const auto title = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(status));
  return {title.data(), title.size()};
}

std::string problem_text(const Problem& problem) {
  nlohmann::ordered_json object = {
      {"type", "about:blank"}, {"title", status_title(problem.status)}, {"status", problem.status}, {"detail", problem.detail}};
  if (!problem.errors.empty()) {
    auto& errors = object["errors"] = nlohmann::ordered_json::array();
    for (const auto& fault : problem.errors) errors.push_back({{"pointer", fault.pointer}, {"detail", fault.detail}});
  }
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace bailiff::server
