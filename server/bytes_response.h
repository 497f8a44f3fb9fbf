#pragma once
// An answer of stored bytes: all of them, or the range that was asked for (RFC 9110 section 14). They are a stranger's: a browser that is
// sent to them saves them and shows nothing.
#include <cstdint>
#include <functional>
#include <string>

#include "core/result.h"
#include "server/http_message.h"

namespace bailiff::server {

/// `tag` names the bytes; `read` takes offsets into all of them.
[[nodiscard]] Response bytes_response(const Request& request, const std::string& tag, std::uint64_t total_bytes,
                                      std::function<core::Result<std::string>(std::uint64_t offset, std::uint64_t length)> read);

}  // namespace bailiff::server
