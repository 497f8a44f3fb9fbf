#include "server/blob_content.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>
#include <set>

namespace bailiff::server {
namespace {

constexpr std::string_view kPrefix = "sha256:";
constexpr std::size_t kDigits = 64;

/// Calls `visit` for every content that a job has.
template <class Spec, class Visit>
void for_each_content(Spec& spec, Visit visit) {
  if (spec.source) visit(*spec.source);
  for (auto& [path, content] : spec.files) visit(content);
  if (spec.archive) visit(*spec.archive);
  for (auto& step : spec.steps) visit(step.stdin_content);
  visit(spec.stdin_content);
  for (auto& test : spec.tests) {
    visit(test.stdin_content);
    if (test.expected) visit(*test.expected);
  }
}

}  // namespace

bool is_blob_digest(std::string_view text) {
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + kDigits) return false;
  return std::ranges::all_of(text.substr(kPrefix.size()), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void BlobDigest::Free::operator()(void* context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

BlobDigest::BlobDigest() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_.get()), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
}

void BlobDigest::add(std::string_view bytes) { EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_.get()), bytes.data(), bytes.size()); }

std::string BlobDigest::text() {
  std::array<unsigned char, kDigits / 2> digest{};
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_.get()), digest.data(), nullptr);
  std::string text(kPrefix);
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

bool names_blobs(const core::JobSpec& spec) {
  bool any = false;
  for_each_content(spec, [&](const core::Content& content) { any = any || content.blob; });
  return any;
}

std::vector<std::string> blobs_of(const core::JobSpec& spec) {
  std::set<std::string> digests;
  for_each_content(spec, [&](const core::Content& content) {
    if (content.blob) digests.insert(*content.blob);
  });
  return {digests.begin(), digests.end()};
}

core::Status load_blobs(core::JobSpec& spec, const std::string& owner, storage::Store& store) {
  core::Status status;
  for_each_content(spec, [&](core::Content& content) {
    if (!status || !content.blob) return;
    auto bytes = store.blob(owner, *content.blob, 0, kMaxJobBlobBytes);
    if (!bytes) {
      status = std::unexpected(std::move(bytes.error()));
      return;
    }
    content = core::Content{std::move(bytes->bytes), std::nullopt};
  });
  return status;
}

}  // namespace bailiff::server
