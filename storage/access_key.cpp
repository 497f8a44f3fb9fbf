#include "storage/access_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <span>

namespace bailiff::storage {
namespace {

constexpr std::string_view kPrefix = "bailiff_";
constexpr std::size_t kIdBytes = 8, kSecretBytes = 32;
constexpr std::size_t kTextLength = kPrefix.size() + 2 * kIdBytes + 1 + 2 * kSecretBytes;

std::string hexadecimal(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xF];
  }
  return text;
}

/// Empty where the library fails: then no text has it.
std::string digest_of(std::string_view text) {
  std::string digest(32, '\0');
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), &length, EVP_sha256(), nullptr) != 1) return {};
  digest.resize(length);
  return digest;
}

}  // namespace

core::Result<NewAccessKey> make_access_key() {
  std::array<unsigned char, kIdBytes + kSecretBytes> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) return core::errno_error("cannot make a key");
  const std::span bytes(random);
  NewAccessKey made;
  made.key.id = hexadecimal(bytes.first(kIdBytes));
  made.text = std::string(kPrefix) + made.key.id + "_" + hexadecimal(bytes.subspan(kIdBytes));
  made.key.digest = digest_of(made.text);
  if (made.key.digest.empty()) return core::error(core::ErrorKind::internal, "cannot make the digest of a key");
  return made;
}

std::optional<std::string_view> key_id_of(std::string_view text) {
  if (text.size() != kTextLength || !text.starts_with(kPrefix)) return std::nullopt;
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const auto id = text.substr(kPrefix.size(), 2 * kIdBytes), rest = text.substr(kPrefix.size() + 2 * kIdBytes);
  if (rest.front() != '_' || !std::ranges::all_of(id, is_digit) || !std::ranges::all_of(rest.substr(1), is_digit)) return std::nullopt;
  return id;
}

bool is_text_of(const AccessKey& key, std::string_view text) {
  const auto digest = digest_of(text);
  return !digest.empty() && digest.size() == key.digest.size() && CRYPTO_memcmp(digest.data(), key.digest.data(), digest.size()) == 0;
}

}  // namespace bailiff::storage
