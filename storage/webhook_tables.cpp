#include "storage/webhook_tables.h"

#include <limits>

#include "core/verdict.h"

namespace bailiff::storage {
namespace {

template <class Value>
void bind_optional(Query& query, int parameter, const std::optional<Value>& value) {
  if (value) query->bind(parameter, *value);
  else query->bind(parameter);
}

// Walks the index alone, which has all three columns, past what is under way or of an origin that has its share.
void take_due(Connection& connection, std::int64_t from_us, std::int64_t until_us, const DueQuery& query,
              std::map<std::string, std::size_t>& of_origin, DueWebhooks& due) {
  Query row = connection.query(
      "SELECT job_id, origin FROM webhooks INDEXED BY webhooks_due WHERE due_us BETWEEN ? AND ? ORDER BY due_us, origin, job_id");
  row->bind(1, from_us);
  row->bind(2, until_us);
  while (due.webhooks.size() < query.most && row->executeStep()) {
    std::string id = row->getColumn(0).getString(), origin = row->getColumn(1).getString();
    if (query.under_way.contains(id)) continue;
    auto& count = of_origin[origin];
    if (count >= query.most_per_origin) continue;
    ++count;
    due.webhooks.emplace_back(std::move(id), std::move(origin));
  }
}

}  // namespace

bool has_webhooks(Connection& connection) { return connection.query("SELECT 1 FROM webhooks LIMIT 1")->executeStep(); }

void insert_webhook(Connection& connection, const std::string& job_id, const Webhook& webhook) {
  Query row = connection.query("INSERT INTO webhooks (job_id, url, secret, origin) VALUES (?, ?, ?, ?)");
  row->bindNoCopy(1, job_id);
  row->bindNoCopy(2, webhook.url);
  row->bindNoCopy(3, webhook.secret);
  row->bindNoCopy(4, webhook.origin);
  row->exec();
}

bool make_webhook_due(Connection& connection, const std::string& job_id, std::int64_t now_us) {
  Query row = connection.query("UPDATE webhooks SET due_us = ? WHERE job_id = ?");
  row->bind(1, now_us);
  row->bindNoCopy(2, job_id);
  return row->exec() == 1;
}

core::Status record_webhook_attempt(Connection& connection, const WebhookAttempt& attempt) {
  Query row = connection.query(
      "UPDATE webhooks SET attempts = attempts + 1, attempted_us = ?1, last_status = ?2, last_error = ?3, state = ?4, due_us = ?5, "
      "secret = CASE ?4 WHEN 'pending' THEN secret ELSE '' END WHERE job_id = ?6 AND due_us IS NOT NULL");
  row->bind(1, attempt.attempted_us);
  bind_optional(row, 2, attempt.status);
  row->bindNoCopy(3, attempt.error);
  row->bind(4, std::string(name(attempt.state)));
  bind_optional(row, 5, attempt.due_us);
  row->bindNoCopy(6, attempt.job_id);
  if (row->exec() == 1) return {};
  return core::error(core::ErrorKind::not_found, "no webhook of job " + attempt.job_id + " is due");
}

core::Result<StoredWebhook> read_webhook(Connection& connection, const std::string& job_id) {
  Query row = connection.query(
      "SELECT url, secret, origin, state, attempts, due_us, attempted_us, last_status, last_error FROM webhooks WHERE job_id = ?");
  row->bindNoCopy(1, job_id);
  if (!row->executeStep()) return core::error(core::ErrorKind::not_found, "no webhook of job " + job_id);
  const auto optional = [&](int column) {
    const auto value = row->getColumn(column);
    return value.isNull() ? std::nullopt : std::optional(value.getInt64());
  };
  StoredWebhook stored;
  stored.webhook = {row->getColumn(0).getString(), row->getColumn(1).getString(), row->getColumn(2).getString()};
  const auto state = core::enum_from_name<WebhookState>(kWebhookStateNames, row->getColumn(3).getString());
  stored.state = state.value();  // the column's CHECK knows the same names
  stored.attempts = row->getColumn(4).getInt();
  stored.due_us = optional(5);
  stored.attempted_us = optional(6);
  if (const auto status = optional(7)) stored.last_status = static_cast<int>(*status);
  stored.last_error = row->getColumn(8).getString();
  return stored;
}

core::Result<DueWebhooks> read_due_webhooks(Connection& connection, const DueQuery& query) {
  using Time = std::numeric_limits<std::int64_t>;
  std::map<std::string, std::size_t> of_origin;
  for (const auto& [id, origin] : query.under_way) ++of_origin[origin];
  DueWebhooks due;
  take_due(connection, Time::min(), query.now_us, query, of_origin, due);
  take_due(connection, query.latest_us + 1, Time::max(), query, of_origin, due);
  Query next = connection.query("SELECT min(due_us) FROM webhooks INDEXED BY webhooks_due WHERE due_us BETWEEN ? AND ?");
  next->bind(1, query.now_us + 1);
  next->bind(2, query.latest_us);
  if (next->executeStep() && !next->getColumn(0).isNull()) due.next_us = next->getColumn(0).getInt64();
  return due;
}

core::Result<std::uint64_t> count_pending_webhooks(Connection& connection) {
  Query count = connection.query("SELECT count(*) FROM webhooks INDEXED BY webhooks_due WHERE due_us IS NOT NULL");
  count->executeStep();
  return static_cast<std::uint64_t>(count->getColumn(0).getInt64());
}

}  // namespace bailiff::storage
