#include "server/access.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "core/clock.h"
#include "core/json/json.h"
#include "server/async_result.h"
#include "server/http_fields.h"
#include "server/log.h"

namespace bailiff::server {

namespace asio = boost::asio;

namespace {

constexpr std::string_view kKeyProtocol = "bailiff.key.";

const char* scope_name(Scope scope) { return scope == Scope::submit ? "submit" : scope == Scope::read ? "read" : "admin"; }

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

/// Of "Bearer <text>" (RFC 6750 section 2.1).
std::optional<std::string> bearer_text(std::string_view authorization) {
  const auto space = authorization.find(' ');
  if (space == std::string_view::npos || !equals_ignoring_case(authorization.substr(0, space), "Bearer")) return std::nullopt;
  return std::string(trimmed(authorization.substr(space)));
}

std::optional<std::string> protocol_text(std::string_view protocols) {
  while (!protocols.empty()) {
    const auto comma = protocols.find(',');
    const auto one = trimmed(protocols.substr(0, comma));
    if (one.starts_with(kKeyProtocol)) {
      std::string base64(one.substr(kKeyProtocol.size()));
      std::ranges::replace(base64, '-', '+');
      std::ranges::replace(base64, '_', '/');
      base64.append((4 - base64.size() % 4) % 4, '=');
      return core::base64_decode(base64);
    }
    protocols.remove_prefix(comma == std::string_view::npos ? protocols.size() : comma + 1);
  }
  return std::nullopt;
}

/// What the request shows as its key; empty: something that is none.
std::optional<std::string> shown_text(const Request& request) {
  if (const auto authorization = request.header("Authorization")) return bearer_text(*authorization).value_or("");
  const auto upgrade = request.header("Upgrade");
  if (!upgrade || !equals_ignoring_case(*upgrade, "websocket")) return std::nullopt;
  return protocol_text(request.header("Sec-WebSocket-Protocol").value_or(""));
}

Problem unauthorized(bool shown) {
  return {401,
          shown ? "this key is unknown or was revoked" : "this server needs an API key: Authorization: Bearer <key>",
          {},
          {{"WWW-Authenticate", shown ? R"(Bearer realm="bailiff", error="invalid_token")" : R"(Bearer realm="bailiff")"}}};
}

/// The network that an address belongs to, for a host has as many IPv6 addresses as it likes.
std::string network_of(std::string_view address) {
  boost::system::error_code failed;
  const auto parsed = asio::ip::make_address(std::string(address), failed);
  if (failed || !parsed.is_v6() || parsed.to_v6().is_v4_mapped()) return std::string(address);
  auto bytes = parsed.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return asio::ip::address_v6(bytes).to_string();
}

}  // namespace

bool Caller::may(Scope scope) const {
  switch (scope) {
    case Scope::none: return true;
    case Scope::read: return scopes.read || scopes.admin;
    case Scope::submit: return scopes.submit || scopes.admin;
    case Scope::admin: break;
  }
  return scopes.admin;
}

bool FailedAttempts::note(std::string_view address, Clock::time_point now) {
  const auto old = [&](const auto& entry) { return now - entry.second.began > kWindow; };
  auto found = windows_.find(network_of(address));
  if (found == windows_.end()) {
    if (windows_.size() >= kMostAddresses) std::erase_if(windows_, old);
    if (windows_.size() >= kMostAddresses) windows_.erase(windows_.begin());
    found = windows_.emplace(network_of(address), Window{now}).first;
  }
  auto& window = found->second;
  if (old(*found)) window = Window{now};
  if (window.count >= kMost) return false;
  ++window.count;
  return true;
}

core::Status Access::load() {
  auto keys = store_.keys();
  if (!keys) return std::unexpected(std::move(keys.error()));
  for (auto& key : *keys) remember(std::move(key));
  return {};
}

void Access::remember(storage::AccessKey key) {
  shares_.set_bounds(key.id, {key.weight, key.max_queued, key.max_running, key.max_stored_bytes, key.max_cpu_ms_per_hour});
  auto id = key.id;
  keys_.insert_or_assign(std::move(id), std::move(key));
}

std::expected<Caller, Problem> Access::caller(const Request& request, Scope needed) {
  if (needed == Scope::none || !has_keys()) return Caller{};
  const auto text = shown_text(request);
  if (!text) return std::unexpected(unauthorized(false));
  const auto id = storage::key_id_of(*text);
  const auto* key = id ? find(*id) : nullptr;
  if (key == nullptr || key->revoked_us || !storage::is_text_of(*key, *text)) {
    if (failures_.note(request.peer, FailedAttempts::Clock::now())) {
      log_warn("a key was refused", {{"peer", request.peer}, {"key", key == nullptr ? "unknown" : key->id}});
      return std::unexpected(unauthorized(true));
    }
    return std::unexpected(Problem{429, "too many wrong keys from this address; try again later", {}, {{"Retry-After", "60"}}});
  }
  Caller caller{key->id, key->scopes};
  if (caller.may(needed)) return caller;
  return std::unexpected(Problem{
      403,
      fmt::format("this call needs a key with the scope \"{}\"", scope_name(needed)),
      {},
      {{"WWW-Authenticate", fmt::format(R"(Bearer realm="bailiff", error="insufficient_scope", scope="{}")", scope_name(needed))}}});
}

std::vector<storage::AccessKey> Access::keys() const {
  std::vector<storage::AccessKey> keys;
  for (const auto& [id, key] : keys_) keys.push_back(key);
  std::ranges::sort(keys, {}, [](const auto& key) { return std::pair(key.created_us, key.id); });
  return keys;
}

const storage::AccessKey* Access::find(std::string_view id) const {
  const auto found = keys_.find(id);
  return found == keys_.end() ? nullptr : &found->second;
}

asio::awaitable<core::Result<storage::NewAccessKey>> Access::create(storage::AccessKey wish) {
  if (!has_keys() && !wish.scopes.admin) co_return core::error(core::ErrorKind::conflict, "the first key must have the scope \"admin\"");
  auto made = storage::make_access_key();
  if (!made) co_return std::unexpected(std::move(made.error()));
  wish.id = made->key.id;
  wish.digest = made->key.digest;
  wish.created_us = core::unix_us();
  wish.revoked_us.reset();
  made->key = wish;
  auto start = [this, &wish](auto done) { store_.add_key(wish, std::move(done)); };
  const auto stored = co_await from_callback<core::Status>(std::move(start));
  if (!stored) co_return std::unexpected(stored.error());
  remember(std::move(wish));
  co_return std::move(*made);
}

asio::awaitable<core::Status> Access::revoke(std::string id) {
  const auto* key = find(id);
  if (key == nullptr) co_return core::error(core::ErrorKind::not_found, "no key " + id);
  if (key->revoked_us) co_return core::Status{};
  const auto is_administrator = [](const auto& entry) { return entry.second.scopes.admin && !entry.second.revoked_us; };
  if (key->scopes.admin && std::ranges::count_if(keys_, is_administrator) == 1)
    co_return core::error(core::ErrorKind::conflict, "it is the last key with the scope \"admin\"; make another first");
  const auto now = core::unix_us();
  keys_.at(id).revoked_us = now;  // from here on, whatever the disk says: two that go at once must not be the last two
  auto start = [this, &id, now](auto done) { store_.revoke_key(id, now, std::move(done)); };
  const auto stored = co_await from_callback<core::Status>(std::move(start));
  if (!stored) keys_.at(id).revoked_us.reset();
  co_return stored;
}

}  // namespace bailiff::server
