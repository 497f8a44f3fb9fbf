// Routes about jobs: create, show, list, cancel.
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <charconv>

#include "core/id.h"
#include "server/api.h"
#include "server/api_job.h"
#include "server/api_json.h"
#include "server/api_request.h"
#include "server/api_submission.h"
#include "server/async_result.h"
#include "server/http_fields.h"
#include "server/image_service.h"
#include "server/trace_context.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;

constexpr std::size_t kLargeBytes = 64 * 1024;  // some 0.5 ms of JSON work
constexpr int kMostListed = 200, kListedAtOnce = 8;

std::expected<AcceptedJob, Problem> new_job_of(const std::string& body, const ApiContext& context, const std::string& owner,
                                               const std::string& traceparent) {
  auto parsed = parse_json(body);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  auto accepted = accept_job(parsed->value, std::move(parsed->duplicates), context, owner, traceparent);
  if (accepted) accepted->job.request_digest = sha256_digest(body);
  return accepted;
}

// A braced list of temporaries stays out of the coroutine: g++ 12 does not compile all of them right.
Response image_is_changing() {
  return problem_response(503, "the image is being replaced or removed; try again later", {{"Retry-After", "5"}});
}

std::expected<storage::ListQuery, Problem> list_query(const std::vector<std::pair<std::string, std::string>>& parameters) {
  storage::ListQuery query;
  Problem problem{400, "the query has faults; each is listed with its parameter", {}, {}};
  const auto fault = [&](const std::string& name, std::string detail) { problem.errors.push_back({name, std::move(detail)}); };
  for (const auto& [name, value] : parameters) {
    if (name == "state") {
      query.state = core::job_state_from_name(value);
      if (!query.state) fault(name, "must be queued, running or finished");
    } else if (name == "verdict") {
      query.verdict = core::verdict_from_name(value);
      if (!query.verdict) fault(name, "is not a verdict");
    } else if (name == "label") {
      const auto colon = value.find(':');
      if (colon == std::string::npos || colon == 0) fault(name, "must be key:value");
      else if (!query.labels.emplace(value.substr(0, colon), value.substr(colon + 1)).second) fault(name, "the same key stands twice");
    } else if (name == "limit") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), query.limit);
      if (error != std::errc{} || end != value.data() + value.size() || query.limit < 1 || query.limit > kMostListed)
        fault(name, fmt::format("must be from 1 to {}", kMostListed));
    } else if (name == "cursor") {
      query.before_id = value;
      if (!core::is_job_id(value)) fault(name, "must be a next_cursor of an earlier answer");
    } else {
      fault(name, "unknown parameter");
    }
  }
  if (query.labels.size() > kMaxLabels) fault("label", "too many labels");
  if (problem.errors.empty()) return query;
  return std::unexpected(std::move(problem));
}

/// A page, read a few jobs at a time: a stored request may be as large as a body, and none of it but the head is shown.
core::Result<core::Json> page_of_jobs(storage::ListQuery query, storage::Store& store, const std::set<std::string>& paused) {
  core::Json page = {{"items", core::Json::array()}, {"next_cursor", nullptr}};
  auto& items = page["items"];
  const auto wanted = static_cast<std::size_t>(query.limit);
  while (true) {
    query.limit = static_cast<int>(std::min<std::size_t>(kListedAtOnce, wanted - items.size() + 1));
    auto jobs = store.list(query);
    if (!jobs) return std::unexpected(std::move(jobs.error()));
    for (const auto& job : *jobs) {
      if (items.size() == wanted) {
        page["next_cursor"] = *query.before_id;
        return page;
      }
      auto item = compose_job(job, store, OutputPolicy{false, 0}, paused.contains(job.id));
      if (!item) return item;
      items.push_back(std::move(*item));
      query.before_id = job.id;
    }
    if (jobs->size() < static_cast<std::size_t>(query.limit)) return page;
  }
}

}  // namespace

void Api::add_job_routes() {
  router_.add({.method = "POST",
               .pattern = "/v1/jobs",
               .scope = Scope::submit,
               .handler = [this](Call call) { return create_job(std::move(call)); },
               .takes_json = true});
  router_.add(
      {.method = "GET", .pattern = "/v1/jobs", .scope = Scope::read, .handler = [this](Call call) { return list_jobs(std::move(call)); }});
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}", .scope = Scope::read, .handler = [this](Call call) {
                 return show_job(std::move(call));
               }});
  router_.add({.method = "POST", .pattern = "/v1/jobs/{id}:cancel", .scope = Scope::submit, .handler = [this](Call call) {
                 return cancel_job(std::move(call));
               }});
  router_.add({.method = "DELETE", .pattern = "/v1/jobs/{id}", .scope = Scope::submit, .handler = [this](Call call) {
                 return delete_job(std::move(call));
               }});
  router_.add({.method = "POST", .pattern = "/v1/jobs/{id}:pause", .scope = Scope::submit, .handler = [this](Call call) {
                 return pause_job(std::move(call), true);
               }});
  router_.add({.method = "POST", .pattern = "/v1/jobs/{id}:resume", .scope = Scope::submit, .handler = [this](Call call) {
                 return pause_job(std::move(call), false);
               }});
}

std::optional<std::chrono::seconds> Api::wait_of(const Request& request) const {
  const auto prefer = request.header("Prefer");
  if (!prefer) return std::nullopt;
  return preferred_wait(*prefer, std::chrono::duration_cast<std::chrono::seconds>(bounds_.longest_wait));
}

awaitable<void> Api::wait_for_end(std::string id, std::optional<std::chrono::seconds> wait, Client& client) {
  using namespace boost::asio::experimental::awaitable_operators;
  if (!wait || wait->count() == 0) co_return;
  // Either end of it leads to the same place: the job is shown as it stands then.
  co_await (context_.jobs.wait_finished(std::move(id), *wait) || client.gone());
}

awaitable<Response> Api::job_answer(std::string id, unsigned status_unfinished, std::optional<std::chrono::seconds> wait) {
  auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  const OutputPolicy policy{true, bounds_.inline_output_bytes};
  const bool large = result_weight_bytes(*job) > kLargeBytes;
  const auto finished = job->state == core::JobState::finished;
  const bool paused = context_.jobs.paused().contains(id);
  auto compose = [stored = std::move(*job), &store = context_.store, policy, paused]() -> core::Result<std::string> {
    auto document = compose_job(stored, store, policy, paused);
    if (!document) return std::unexpected(std::move(document.error()));
    return document->dump();
  };
  auto text = co_await run_aside(large, std::move(compose));
  if (!text) co_return problem_response(problem_of(text.error(), "read the outputs of a job"));
  Response response = text_response(std::move(*text));
  if (!finished) response.status = status_unfinished;
  if (wait) response.headers.emplace_back("Preference-Applied", fmt::format("wait={}", wait->count()));
  co_return response;
}

Response Api::refused_submit(const core::Error& error, const std::string& owner) {
  if (error.kind == core::ErrorKind::conflict) return problem_response(reused_idempotency_key());
  if (error.kind == core::ErrorKind::invalid) return problem_response(lost_blob());
  if (error.kind != core::ErrorKind::unavailable) return problem_response(problem_of(error, "accept a job"));
  const auto quota = context_.jobs.exhausted(owner);
  if (context_.jobs.ready() && quota != Quota::none) return problem_response(full_quota(quota));
  const auto depth = context_.store.depth();
  if (context_.jobs.ready() && depth && depth->queued >= context_.queue_bound) return problem_response(full_queue(context_.queue_bound));
  return problem_response(problem_of(error, "accept a job"));
}

awaitable<std::optional<Problem>> Api::look_into_archive(const AcceptedJob& job) {
  if (!job.archive) co_return std::nullopt;
  const auto look = [&job, &context = context_] { return fault_of_archive(job, context); };
  co_return co_await offload(archives_, look);
}

awaitable<Response> Api::create_job(Call call) {
  if (!call.query.empty()) co_return problem_response(400, "this call takes no query parameters");
  const auto& body = call.request.body;
  const std::string owner = call.caller.key_id;
  const std::string trace = traceparent_of(call.request.header("traceparent").value_or("")).value_or("");
  auto prepare = [&body, &owner, &trace, &context = context_] { return new_job_of(body, context, owner, trace); };
  auto accepted = co_await run_aside(body.size() > kLargeBytes, std::move(prepare));
  if (!accepted) co_return problem_response(accepted.error());
  const auto fault = co_await look_into_archive(*accepted);
  if (fault) co_return problem_response(*fault);
  auto* const job = &accepted->job;
  job->idempotency_key = call.request.header("Idempotency-Key");
  if (job->idempotency_key && !is_idempotency_key(*job->idempotency_key)) co_return problem_response(faulty_idempotency_key());
  std::shared_ptr<const void> use;
  if (context_.images != nullptr) use = context_.images->begin_submission(accepted->image);
  if (context_.images != nullptr && use == nullptr) co_return image_is_changing();
  auto submitted = co_await context_.jobs.submit(std::move(*job));
  use.reset();
  if (!submitted) co_return refused_submit(submitted.error(), owner);
  const auto wait = wait_of(call.request);
  co_await wait_for_end(submitted->id, wait, call.client);
  auto response = co_await job_answer(submitted->id, 202, wait);
  if (!wait && response.status == 200) response.status = 202;
  if (response.status == 200 || response.status == 202) response.headers.emplace_back("Location", "/v1/jobs/" + submitted->id);
  co_return response;
}

awaitable<Response> Api::show_job(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const auto wait = wait_of(call.request);
  co_await wait_for_end(id, wait, call.client);
  co_return co_await job_answer(id, 200, wait);
}

awaitable<Response> Api::list_jobs(Call call) {
  auto query = list_query(call.query);
  if (!query) co_return problem_response(query.error());
  if (!call.caller.scopes.admin) query->owner = call.caller.key_id;
  auto read = [query = std::move(*query), &store = context_.store, paused = context_.jobs.paused()]() -> core::Result<std::string> {
    auto page = page_of_jobs(query, store, paused);
    if (!page) return std::unexpected(std::move(page.error()));
    return page->dump();
  };
  auto text = co_await run_aside(true, std::move(read));
  if (!text) co_return problem_response(problem_of(text.error(), "list jobs"));
  co_return text_response(std::move(*text));
}

awaitable<Response> Api::cancel_job(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  auto state = co_await context_.jobs.cancel(id);
  if (!state) co_return problem_response(problem_of_job(state.error(), "cancel a job"));
  const auto wait = wait_of(call.request);
  co_await wait_for_end(id, wait, call.client);
  co_return co_await job_answer(id, 202, wait);
}

awaitable<Response> Api::delete_job(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  if (!call.query.empty()) co_return problem_response(400, "this call takes no query parameters");
  const auto forgotten = co_await context_.jobs.forget(id);
  if (!forgotten && forgotten.error().kind == core::ErrorKind::conflict)
    co_return problem_response(409, "only a finished job can be deleted; POST …:cancel ends it");
  if (!forgotten) co_return problem_response(problem_of_job(forgotten.error(), "delete a job"));
  Response response;
  response.status = 204;
  co_return response;
}

awaitable<Response> Api::pause_job(Call call, bool pause) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  if (context_.lacks("cgroup.freezer"))
    co_return problem_response(501, "this server's host has no cgroup freezer, so nothing can be paused");
  const auto done = context_.jobs.set_paused(id, pause);
  if (!done && done.error().kind == core::ErrorKind::conflict)
    co_return problem_response(409, fmt::format("only a running job can be {}", pause ? "paused" : "resumed"));
  if (!done) co_return problem_response(problem_of_job(done.error(), "pause a job"));
  co_return co_await job_answer(id, 200, std::nullopt);
}

}  // namespace bailiff::server
