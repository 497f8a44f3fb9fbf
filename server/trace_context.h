#pragma once
// W3C Trace Context (https://www.w3.org/TR/trace-context/): the `traceparent` with which a job was made names the trace that it belongs
// to. It is kept with the job, stands in its log line and its document, and goes on with its webhook.
#include <optional>
#include <string>
#include <string_view>

namespace bailiff::server {

/// The header in its version 00; nothing where it is malformed, which the recommendation has us ignore.
[[nodiscard]] std::optional<std::string> traceparent_of(std::string_view header);

/// The same trace with a span of our own, for what we send.
[[nodiscard]] std::string next_span(std::string_view traceparent);

}  // namespace bailiff::server
