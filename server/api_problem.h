#pragma once
// An error answer (RFC 9457, api.md "Conventions"). Nothing in it comes from Error::what, which is for operators.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bailiff::server {

/// One fault of a request: where (JSON pointer, RFC 6901; of a query: the parameter's name) and what, for a person.
struct Fault {
  std::string pointer;
  std::string detail;
};

struct Problem {
  unsigned status = 500;
  std::string detail;
  std::vector<Fault> errors;
  std::vector<std::pair<std::string, std::string>> headers;  // Allow, Retry-After …
};

/// The standard reason phrase: "Not Found".
[[nodiscard]] std::string_view status_title(unsigned status);
/// {"type", "title", "status", "detail", "errors"?}. Content type application/problem+json.
[[nodiscard]] std::string problem_text(const Problem& problem);

}  // namespace bailiff::server
