#pragma once
// The reads of store.h as SQL, on one connection. SQLite::Exception leaves these functions.
#include <string>
#include <vector>

#include "storage/connection.h"
#include "storage/store.h"
#include "storage/webhook_tables.h"

namespace bailiff::storage {

class JobReader {
 public:
  explicit JobReader(Connection& connection) : connection_(connection) {}

  // Each of these reads from one snapshot: call inside a transaction.
  core::Result<StoredJob> get(const std::string& id);
  core::Result<std::string> owner(const std::string& id);
  core::Result<std::vector<StoredJob>> list(const ListQuery& query);
  core::Result<OwnerUse> use_of(const std::string& owner, std::int64_t now_us);
  core::Result<bool> knows_key(const std::string& owner, const std::string& key);
  core::Result<std::vector<AccessKey>> keys();
  core::Result<std::map<std::string, std::uint64_t>> queued_by_owner();
  core::Result<std::optional<std::int64_t>> oldest_queued_us();
  core::Result<std::optional<std::string>> id_before_newest(std::uint64_t count);
  core::Result<StoredWebhook> webhook(const std::string& job_id) { return read_webhook(connection_, job_id); }
  core::Result<DueWebhooks> due_webhooks(const DueQuery& query) { return read_due_webhooks(connection_, query); }
  core::Result<std::uint64_t> pending_webhooks() { return count_pending_webhooks(connection_); }
  core::Result<Store::Slice> blob(const std::string& owner, const std::string& digest, std::uint64_t offset, std::uint64_t length);
  core::Result<Store::Slice> artifact(const std::string& id, const std::string& path, std::uint64_t offset, std::uint64_t length);
  core::Result<Store::Slice> output(const std::string& id, int index, Stream stream, std::uint64_t offset, std::uint64_t length);

 private:
  void read_labels(StoredJob& job);

  Connection& connection_;
};

}  // namespace bailiff::storage
