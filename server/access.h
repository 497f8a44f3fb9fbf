#pragma once
// Who calls, and what they may do: API keys, their scopes, and how often somebody may guess at them.
//
// Where no key was ever made, there are no callers to tell apart: everybody may do everything. From the first key on each call needs one,
// and that stays so when all are revoked. What is here follows the store; io thread only.
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "server/api_problem.h"
#include "server/fair_share.h"
#include "server/http_message.h"
#include "storage/store.h"

namespace bailiff::server {

/// What a call needs of its caller's key. Of one that says nothing, only an administrator may make use.
enum class Scope { admin, submit, read, none };

struct Caller {
  std::string key_id;  // the owner of what it makes; empty: there are no keys
  storage::KeyScopes scopes{true, true, true};

  [[nodiscard]] bool may(Scope scope) const;
  /// Whether jobs of that owner are there for this caller.
  [[nodiscard]] bool sees(const std::string& owner) const { return scopes.admin || owner == key_id; }
};

/// Counts failed attempts by address: many in a minute, and the next ones are turned away unread. Bounded, whoever calls.
class FailedAttempts {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr unsigned kMost = 20;
  static constexpr std::chrono::seconds kWindow{60};
  static constexpr std::size_t kMostAddresses = 10'000;

  /// False: that one was too many. `address` as text; of an IPv6 address the network (/64) counts.
  bool note(std::string_view address, Clock::time_point now);

 private:
  struct Window {
    Clock::time_point began;
    unsigned count = 0;
  };
  std::map<std::string, Window, std::less<>> windows_;
};

class Access {
 public:
  /// Both outlive this object.
  Access(storage::Store& store, FairShare& shares) : store_(store), shares_(shares) {}
  /// Reads the keys of the store. Once, at start.
  core::Status load();

  [[nodiscard]] bool has_keys() const { return !keys_.empty(); }
  /// Who sent the request, where it may use a call of that scope; else 401, 403 or 429. A right key passes always. It is in Authorization;
  /// of a WebSocket, with which no browser sends that, also in the name of a subprotocol: "bailiff.key.<base64url of the key>".
  std::expected<Caller, Problem> caller(const Request& request, Scope needed);

  /// All of them, the oldest first.
  [[nodiscard]] std::vector<storage::AccessKey> keys() const;
  [[nodiscard]] const storage::AccessKey* find(std::string_view id) const;
  /// Of `wish` all but the id, digest and time is taken. conflict: the first key must be an administrator's, or nobody could make another.
  boost::asio::awaitable<core::Result<storage::NewAccessKey>> create(storage::AccessKey wish);
  /// Idempotent. not_found; conflict: it is the last administrator's.
  boost::asio::awaitable<core::Status> revoke(std::string id);

 private:
  void remember(storage::AccessKey key);

  storage::Store& store_;
  FairShare& shares_;
  std::map<std::string, storage::AccessKey, std::less<>> keys_;
  FailedAttempts failures_;
};

}  // namespace bailiff::server
