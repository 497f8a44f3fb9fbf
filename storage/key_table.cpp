#include "storage/key_table.h"

#include <algorithm>

namespace bailiff::storage {
namespace {

/// "submit,read"
std::string scopes_text(const KeyScopes& scopes) {
  std::string text;
  for (const auto& [name, member] : kKeyScopeNames)
    if (scopes.*member) text += (text.empty() ? "" : ",") + std::string(name);
  return text;
}

/// Nothing where a scope is unknown: a key that may do less than it was given is better than one that may do more.
std::optional<KeyScopes> scopes_of(std::string_view text) {
  KeyScopes scopes;
  while (!text.empty()) {
    const auto name = text.substr(0, text.find(','));
    const auto* known = std::ranges::find(kKeyScopeNames, name, [](const auto& one) { return std::string_view(one.name); });
    if (known == kKeyScopeNames.end()) return std::nullopt;
    scopes.*(known->member) = true;
    text.remove_prefix(std::min(text.size(), name.size() + 1));
  }
  return scopes;
}

}  // namespace

core::Status KeyTable::add(const AccessKey& key) {
  Query row = connection_.query("INSERT INTO access_keys (id, name, digest, scopes, weight, max_queued, max_running, created_us, "
                                "max_stored_bytes, max_cpu_ms_per_hour) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  row->bindNoCopy(1, key.id);
  row->bindNoCopy(2, key.name);
  row->bindNoCopy(3, key.digest.data(), static_cast<int>(key.digest.size()));
  row->bind(4, scopes_text(key.scopes));
  row->bind(5, static_cast<std::int64_t>(key.weight));
  row->bind(6, static_cast<std::int64_t>(key.max_queued));
  row->bind(7, static_cast<std::int64_t>(key.max_running));
  row->bind(8, key.created_us);
  row->bind(9, static_cast<std::int64_t>(key.max_stored_bytes));
  row->bind(10, static_cast<std::int64_t>(key.max_cpu_ms_per_hour));
  row->exec();
  return {};
}

core::Status KeyTable::revoke(const std::string& id, std::int64_t now_us) {
  Query row = connection_.query("UPDATE access_keys SET revoked_us = coalesce(revoked_us, ?) WHERE id = ?");
  row->bind(1, now_us);
  row->bindNoCopy(2, id);
  if (row->exec() == 1) return {};
  return core::error(core::ErrorKind::not_found, "no key " + id);
}

core::Result<std::vector<AccessKey>> KeyTable::all() {
  std::vector<AccessKey> keys;
  Query rows = connection_.query("SELECT id, name, digest, scopes, weight, max_queued, max_running, created_us, revoked_us, "
                                 "max_stored_bytes, max_cpu_ms_per_hour FROM access_keys ORDER BY created_us, id");
  while (rows->executeStep()) {
    AccessKey key;
    key.id = rows->getColumn(0).getString();
    key.name = rows->getColumn(1).getString();
    key.digest = rows->getColumn(2).getString();
    const auto scopes = scopes_of(rows->getColumn(3).getString());
    if (!scopes) return core::error(core::ErrorKind::internal, "unknown scopes of key " + key.id);
    key.scopes = *scopes;
    key.weight = static_cast<std::uint64_t>(rows->getColumn(4).getInt64());
    key.max_queued = static_cast<std::uint64_t>(rows->getColumn(5).getInt64());
    key.max_running = static_cast<std::uint64_t>(rows->getColumn(6).getInt64());
    key.created_us = rows->getColumn(7).getInt64();
    if (!rows->getColumn(8).isNull()) key.revoked_us = rows->getColumn(8).getInt64();
    key.max_stored_bytes = static_cast<std::uint64_t>(rows->getColumn(9).getInt64());
    key.max_cpu_ms_per_hour = static_cast<std::uint64_t>(rows->getColumn(10).getInt64());
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace bailiff::storage
