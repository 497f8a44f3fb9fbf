#pragma once
// SHA-256 of bytes as they come.
#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::images {

class Sha256 {
 public:
  Sha256();
  void add(std::string_view bytes);
  /// Lower-case hex, or nothing where OpenSSL failed. Once.
  std::optional<std::string> finish();

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool good_ = false;
};

/// Lower-case hex over bytes [offset, offset + size) of a file; a file that is shorter is an Error.
core::Result<std::string> sha256_of_range(int fd, std::uint64_t offset, std::uint64_t size);

/// "sha256:" and 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_digest(std::string_view text);
inline constexpr std::string_view kDigestPrefix = "sha256:";

}  // namespace bailiff::images
