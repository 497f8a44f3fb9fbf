#pragma once
// The table of webhooks as SQL. Writes are called inside a transaction, reads inside a snapshot. SQLite::Exception leaves these functions.
#include <cstdint>
#include <string>

#include "core/result.h"
#include "storage/connection.h"
#include "storage/webhook.h"

namespace bailiff::storage {

/// Whether there is any.
bool has_webhooks(Connection& connection);
/// Of a job that was just inserted.
void insert_webhook(Connection& connection, const std::string& job_id, const Webhook& webhook);
/// The job has ended. False: it has none.
bool make_webhook_due(Connection& connection, const std::string& job_id, std::int64_t now_us);
/// not_found: the webhook is not due, or gone with its job.
core::Status record_webhook_attempt(Connection& connection, const WebhookAttempt& attempt);

/// not_found: there is no such job, or it has no webhook.
core::Result<StoredWebhook> read_webhook(Connection& connection, const std::string& job_id);
core::Result<DueWebhooks> read_due_webhooks(Connection& connection, const DueQuery& query);
/// Those of ended jobs that are not delivered and not given up.
core::Result<std::uint64_t> count_pending_webhooks(Connection& connection);

}  // namespace bailiff::storage
