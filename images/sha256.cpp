#include "images/sha256.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "images/file_range.h"

namespace bailiff::images {

Sha256::Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
  good_ = context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
}

void Sha256::add(std::string_view bytes) { good_ = good_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1; }

std::optional<std::string> Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (!good_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &size) != 1) return std::nullopt;
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest.at(i));
  return hex;
}

core::Result<std::string> sha256_of_range(int fd, std::uint64_t offset, std::uint64_t size) {
  Sha256 hash;
  auto done = read_extent(fd, {offset, size}, [&](std::string_view piece) -> core::Status {
    hash.add(piece);
    return {};
  });
  if (!done) return std::unexpected(std::move(done.error()));
  auto hex = hash.finish();
  if (!hex) return core::error(core::ErrorKind::internal, "OpenSSL has no SHA-256");
  return *hex;
}

bool is_digest(std::string_view text) {
  if (!text.starts_with(kDigestPrefix) || text.size() != kDigestPrefix.size() + 64) return false;
  return std::ranges::all_of(text.substr(kDigestPrefix.size()), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace bailiff::images
