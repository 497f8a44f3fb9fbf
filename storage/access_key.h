#pragma once
// An API key: a text that its holder shows, and what is kept of it. The text is "bailiff_<id>_<secret>" in hexadecimal digits: the id names
// the key wherever it is spoken of, and the secret has 256 random bits, so that a plain digest of the text tells nothing of it.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::storage {

/// What a key's holder may do. `admin` has the others in it, and sees every owner's jobs.
struct KeyScopes {
  bool submit = false;  // create jobs, end, pause and delete its own
  bool read = false;  // read its own jobs, and what is known of the server
  bool admin = false;
  bool operator==(const KeyScopes&) const = default;
};
struct KeyScopeName {
  const char* name;
  bool KeyScopes::* member;
};
inline constexpr std::array kKeyScopeNames = {KeyScopeName{"submit", &KeyScopes::submit}, KeyScopeName{"read", &KeyScopes::read},
                                              KeyScopeName{"admin", &KeyScopes::admin}};

inline constexpr std::uint64_t kMostKeyWeight = 1000;

struct AccessKey {
  std::string id;  // its jobs have it as their owner
  std::string name;  // for people
  std::string digest;  // SHA-256 of the text, as bytes
  KeyScopes scopes;
  std::uint64_t weight = 1;  // its share of the slots against others', 1 … kMostKeyWeight
  std::uint64_t max_queued = 0;  // most jobs of it that are queued; 0: as many as the queue takes
  std::uint64_t max_running = 0;  // most jobs of it that run at once; 0: as many as there are slots
  std::int64_t created_us = 0;
  std::optional<std::int64_t> revoked_us;
  std::uint64_t max_stored_bytes = 0;  // at which its jobs and blobs take no more; 0: none
  std::uint64_t max_cpu_ms_per_hour = 0;  // of its jobs, in an hour of the clock; 0: none
};

/// The bounds of a key by the names that clients use.
struct KeyBound {
  const char* name;
  std::uint64_t AccessKey::* member;
  std::int64_t most;
};
inline constexpr std::array kKeyBounds = {KeyBound{"max_queued_jobs", &AccessKey::max_queued, 1'000'000'000},
                                          KeyBound{"max_running_jobs", &AccessKey::max_running, 1'000'000'000},
                                          KeyBound{"max_stored_bytes", &AccessKey::max_stored_bytes, 1LL << 53},
                                          KeyBound{"max_cpu_ms_per_hour", &AccessKey::max_cpu_ms_per_hour, 1LL << 53}};

struct NewAccessKey {
  AccessKey key;  // id and digest; the rest is the caller's to fill in
  std::string text;  // nobody can tell it again
};
/// From getrandom(2).
core::Result<NewAccessKey> make_access_key();

/// The id in a text of the shape of a key.
[[nodiscard]] std::optional<std::string_view> key_id_of(std::string_view text);
/// Whether it is that key's text; in a time that does not depend on how much of it is right.
[[nodiscard]] bool is_text_of(const AccessKey& key, std::string_view text);

}  // namespace bailiff::storage
