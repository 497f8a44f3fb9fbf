#pragma once
// Between Beast's header and ours, and the text of an answer's head.
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "server/api_problem.h"
#include "server/http_message.h"

namespace bailiff::server {

using RequestHead = boost::beast::http::request_header<boost::beast::http::fields>;

inline constexpr std::size_t kMaxHeaderFields = 100;

/// What makes a request's length or host ambiguous, or is more than is sane; the connection ends with it.
[[nodiscard]] std::optional<Problem> framing_fault(const RequestHead& head);
/// Everything but the body.
[[nodiscard]] Request request_of(const RequestHead& head);
/// Status line, fields and the empty line. `old_version`: the client speaks HTTP/1.0 and must be told that the connection stays.
/// A body that is streamed comes in chunks, or in HTTP/1.0 until the connection ends.
[[nodiscard]] std::string response_head(const Response& response, std::uint64_t length, bool keep_alive, bool old_version);

}  // namespace bailiff::server
