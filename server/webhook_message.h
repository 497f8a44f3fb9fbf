#pragma once
// What a webhook is sent: a job's end, signed as Standard Webhooks has it (https://www.standardwebhooks.com, version 1).
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "core/limits.h"
#include "core/result.h"
#include "storage/store.h"

namespace bailiff::server {

inline constexpr std::size_t kMinWebhookKeyBytes = 24, kMaxWebhookKeyBytes = 75;
inline constexpr std::uint64_t kWebhookOutputBytes = 256 * core::kKiB;  // of all outputs in one payload together

/// The key of a secret: what the base64 behind "whsec_" stands for; the bytes themselves of any other string. The fault, for the client, of
/// one that is not between the bounds.
[[nodiscard]] std::expected<std::string, std::string> webhook_key(std::string_view secret);

/// "v1," and the base64 of the HMAC-SHA256 over "id.timestamp.payload".
[[nodiscard]] std::string webhook_signature(std::string_view key, std::string_view id, std::int64_t timestamp_s, std::string_view payload);

/// {"type": "job.finished", "timestamp": its end, "data": {"job": as GET shows it}}. Reads outputs from `store` (any thread).
[[nodiscard]] core::Result<std::string> webhook_payload(const storage::StoredJob& job, storage::Store& store);

}  // namespace bailiff::server
