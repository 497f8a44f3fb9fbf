// The route that tells how far the delivery of a job's webhook has come.
#include "core/id.h"
#include "server/api.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;

/// The secret is not among what is shown.
core::Json webhook_to_json(const storage::StoredWebhook& stored) {
  const auto time = [](const std::optional<std::int64_t>& time_us) {
    return time_us ? core::Json(core::iso8601_utc(*time_us)) : core::Json(nullptr);
  };
  return {{"url", stored.webhook.url},
          {"state", storage::name(stored.state)},
          {"attempts", stored.attempts},
          {"last_attempt_at", time(stored.attempted_us)},
          {"last_status", stored.last_status ? core::Json(*stored.last_status) : core::Json(nullptr)},
          {"last_error", stored.last_error.empty() ? core::Json(nullptr) : core::Json(core::to_utf8(stored.last_error))},
          {"next_attempt_at", time(stored.due_us)}};
}

}  // namespace

void Api::add_webhook_routes() {
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/webhook", .scope = Scope::read, .handler = [this](Call call) {
                 return show_webhook(std::move(call));
               }});
}

awaitable<Response> Api::show_webhook(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  const auto webhook = context_.store.webhook(id);
  if (!webhook && webhook.error().kind == core::ErrorKind::not_found) co_return problem_response(404, "this job has no webhook");
  if (!webhook) co_return problem_response(problem_of_job(webhook.error(), "read a webhook"));
  co_return json_response(200, webhook_to_json(*webhook));
}

}  // namespace bailiff::server
