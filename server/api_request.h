#pragma once
// A job request (api.md, "A job request"): JSON → core::JobSpec with every check, and JobSpec → the document that is stored.
//
// The stored document is {"language"?, "image", "image_digest", "request": {…}}: what every answer about the job shows stands first,
// so that showing a job reads only the head of it; `request` is the canonical request, which decodes to an equal JobSpec. It is without the
// webhook: that has a secret in it, and is stored by itself.
#include <expected>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/job.h"
#include "core/limits.h"
#include "images/catalogue.h"
#include "server/api_problem.h"
#include "server/webhook_target.h"

namespace bailiff::server {

/// Counts and sizes of a request's parts. Contents are bounded by the body's bound.
inline constexpr std::size_t kMaxTests = 1000, kMaxSteps = 64, kMaxFiles = 1000, kMaxLabels = 32, kMaxArtifactGlobs = 32;
inline constexpr std::size_t kMaxLabelKeyBytes = 64, kMaxLabelValueBytes = 256, kMaxNameBytes = 256;
inline constexpr std::size_t kMaxArguments = 1024, kMaxVariables = 512;
inline constexpr std::size_t kMaxStringBytes = 131'071;  // Linux: MAX_ARG_STRLEN less its NUL, for one argument or variable
inline constexpr std::size_t kMaxStringsBytes = 512'000;  // all arguments of a command together; all variables together
inline constexpr int kMaxPriority = 10;

struct RequestRules {
  const images::Catalogue& catalogue;
  core::Limits default_limits;
  core::Limits ceiling;
  bool can_cap_io = true;  // false: a request for a cap on I/O is a fault
  WebhookRules webhooks = {};
  /// The bytes of a blob; nothing: the caller has none of that digest, which is a fault. Not set: blobs are not looked at.
  std::function<std::optional<std::uint64_t>(const std::string& digest)> blob_bytes = {};
};

/// All faults at once (422). `body` must be what parse_json (api_json.h) made, so that its depth and size are bounded.
[[nodiscard]] std::expected<core::JobSpec, Problem> decode_job(const nlohmann::json& body, const RequestRules& rules);

/// The document for NewJob::request. `traceparent`: of the trace that the job belongs to; empty: none.
[[nodiscard]] std::string stored_request(const core::JobSpec& spec, const images::Catalogue& catalogue,
                                         const std::string& traceparent = {});
/// Back again, for whoever runs the job. Limits were checked when the job was accepted and are not compared with today's ceilings (apply
/// core::at_most). A Problem where the language or image is no longer offered, or the image has another digest than at the submission; its
/// detail may be shown to the client.
[[nodiscard]] std::expected<core::JobSpec, Problem> decode_stored_request(std::string_view stored, const images::Catalogue& catalogue);

}  // namespace bailiff::server
