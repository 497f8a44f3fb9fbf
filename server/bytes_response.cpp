#include "server/bytes_response.h"

#include <fmt/core.h>

#include "server/api.h"
#include "server/http_fields.h"

namespace bailiff::server {
namespace {

/// Range holds only for the representation that If-Range names (RFC 9110 section 13.1.5); a date never matches here.
bool range_holds(const Request& request, const std::string& tag) {
  const auto condition = request.header("If-Range");
  return request.method == "GET" && (!condition || *condition == tag);
}

}  // namespace

Response bytes_response(const Request& request, const std::string& tag, std::uint64_t total_bytes,
                        std::function<core::Result<std::string>(std::uint64_t, std::uint64_t)> read) {
  std::variant<WholeBody, ByteRange, Unsatisfiable> range = WholeBody{};
  if (const auto header = request.header("Range"); header && range_holds(request, tag)) range = parse_range(*header, total_bytes);
  if (std::holds_alternative<Unsatisfiable>(range))
    return problem_response(416, fmt::format("there are {} bytes", total_bytes),
                            {{"Content-Range", fmt::format("bytes */{}", total_bytes)}});
  Response response{200, "application/octet-stream", {{"ETag", tag}, {"Accept-Ranges", "bytes"}, {"Cache-Control", "no-cache"}}, {}, {}};
  ByteRange part{0, total_bytes};
  if (const auto* asked = std::get_if<ByteRange>(&range)) {
    part = *asked;
    response.status = 206;
    const auto last = part.first + part.length - 1;
    response.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", part.first, last, total_bytes));
  }
  response.source = BodySource{part.length, [read = std::move(read), first = part.first](std::uint64_t offset, std::uint64_t length) {
                                 return read(first + offset, length);
                               }};
  return response;
}

}  // namespace bailiff::server
