#include "server/webhook_message.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "core/json/json.h"
#include "server/api_job.h"

namespace bailiff::server {
namespace {

constexpr std::string_view kPrefix = "whsec_";

}  // namespace

std::expected<std::string, std::string> webhook_key(std::string_view secret) {
  std::string key(secret);
  if (secret.starts_with(kPrefix)) {
    auto decoded = core::base64_decode(secret.substr(kPrefix.size()));
    if (!decoded) return std::unexpected("must be base64 with padding behind whsec_");
    key = std::move(*decoded);
  }
  if (key.size() >= kMinWebhookKeyBytes && key.size() <= kMaxWebhookKeyBytes) return key;
  return std::unexpected(
      fmt::format("must be {} to {} bytes, as text or behind whsec_ in base64", kMinWebhookKeyBytes, kMaxWebhookKeyBytes));
}

std::string webhook_signature(std::string_view key, std::string_view id, std::int64_t timestamp_s, std::string_view payload) {
  const std::string text = fmt::format("{}.{}.{}", id, timestamp_s, payload);
  std::array<unsigned char, EVP_MAX_MD_SIZE> code{};
  unsigned size = 0;
  ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         code.data(), &size);
  return "v1," + core::base64_encode(std::string_view(reinterpret_cast<const char*>(code.data()), size));
}

core::Result<std::string> webhook_payload(const storage::StoredJob& job, storage::Store& store) {
  auto document = compose_job(job, store, OutputPolicy{true, kWebhookOutputBytes});
  if (!document) return std::unexpected(std::move(document.error()));
  core::Json payload = {{"type", "job.finished"}, {"timestamp", core::iso8601_utc(job.finished_us.value_or(job.created_us))}};
  payload["data"]["job"] = std::move(*document);
  return payload.dump();
}

}  // namespace bailiff::server
