#include "server/api_problem.h"

#include <nlohmann/json.hpp>

namespace bailiff::server {

std::string_view status_title(unsigned status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Error";
  }
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
