// POST /v1/jobs:batch: many jobs in one request, stored in one transaction; told at once, or line by line as each of them ends.
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <unordered_map>
#include <unordered_set>

#include "server/api.h"
#include "server/api_fields.h"
#include "server/api_job.h"
#include "server/api_json.h"
#include "server/api_submission.h"
#include "server/http_fields.h"
#include "server/image_service.h"
#include "server/trace_context.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

constexpr const char* kLines = "application/x-ndjson";
constexpr std::size_t kLargeBytes = 64 * 1024;  // some 0.5 ms of JSON work

/// The faults of `all` that lie in the job at `index`, with pointers that begin there; they leave `all`.
std::vector<Fault> take_faults_of(std::vector<Fault>& all, std::size_t index) {
  const std::string place = fmt::format("/jobs/{}/", index);
  std::vector<Fault> taken;
  std::erase_if(all, [&](const Fault& fault) {
    if (!fault.pointer.starts_with(place)) return false;
    taken.push_back({fault.pointer.substr(place.size() - 1), fault.detail});
    return true;
  });
  return taken;
}

using Accepted = std::vector<std::expected<AcceptedJob, Problem>>;

/// Each job of the body by itself; a Problem where the body as a whole is faulty.
std::expected<Accepted, Problem> jobs_of(const std::string& body, const ApiContext& context, std::size_t most, const std::string& owner,
                                         const std::string& traceparent) {
  auto parsed = parse_json(body);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  Faults faults;
  const Path root;
  const Path at = root.key("jobs");
  Members members(parsed->value, root, faults);
  const nlohmann::json* jobs = members.find("jobs");
  if (members.is_object() && jobs == nullptr) faults.add(at, "must be given");
  if (jobs != nullptr && check_list(*jobs, most, at, faults) && jobs->empty()) faults.add(at, "must have at least one job");
  members.refuse_others();
  Accepted accepted;
  auto& duplicates = parsed->duplicates;
  if (faults.empty())
    for (std::size_t i = 0; i < jobs->size(); ++i)
      accepted.push_back(
          accept_job((*jobs)[i], duplicates.empty() ? std::vector<Fault>() : take_faults_of(duplicates, i), context, owner, traceparent));
  for (auto& fault : faults.take()) duplicates.push_back(std::move(fault));
  if (duplicates.empty()) return accepted;
  return std::unexpected(Problem{422, "the batch has faults; each is listed with its place", std::move(duplicates), {}});
}

Problem image_is_changing() { return {503, "the image is being replaced or removed; try again later", {}, {{"Retry-After", "5"}}}; }

/// A job's key in the batch's: no key that a client sends has a line feed.
std::string key_of_item(const std::string& key, std::size_t index) { return fmt::format("batch\n{}\n{}", key, index); }

Json problem_json(const Problem& problem) { return Json::parse(problem_text(problem)); }

/// Fields with `name` before the members of a batch's item: {"index"?, "status", "job" | "problem"}.
Json item_json(std::optional<std::size_t> index, unsigned status, const char* name, Json value) {
  Json item = Json::object();
  if (index) item["index"] = *index;
  item["status"] = status;
  item[name] = std::move(value);
  return item;
}

/// {"items": […]} in the order of the jobs; with their outputs where they were `waited` for, each with its part of `most` bytes.
core::Result<std::string> items_text(const Accepted& jobs, const std::vector<std::string>& ids, storage::Store& store, bool waited,
                                     std::uint64_t most) {
  const OutputPolicy policy{waited, most / std::max<std::size_t>(jobs.size(), 1)};
  Json items = Json::array();
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (ids[i].empty()) {
      items.push_back(item_json(std::nullopt, jobs[i].error().status, "problem", problem_json(jobs[i].error())));
      continue;
    }
    const auto job = store.get(ids[i]);
    if (!job && job.error().kind == core::ErrorKind::not_found) {  // deleted since
      items.push_back(item_json(std::nullopt, 404, "problem", problem_json(no_such_job())));
      continue;
    }
    if (!job) return std::unexpected(job.error());
    auto document = compose_job(*job, store, policy);
    if (!document) return std::unexpected(std::move(document.error()));
    const unsigned status = waited && job->state == core::JobState::finished ? 200 : 202;
    items.push_back(item_json(std::nullopt, status, "job", std::move(*document)));
  }
  return Json{{"items", std::move(items)}}.dump();
}

}  // namespace

struct Api::Batch {
  Accepted jobs;
  std::vector<std::string> ids;  // one for each job; empty where it was refused
};

void Api::add_batch_routes() {
  router_.add({.method = "POST",
               .pattern = "/v1/jobs:batch",
               .scope = Scope::submit,
               .handler = [this](Call call) { return create_batch(std::move(call)); },
               .other_media_type = kLines,
               .takes_json = true});
}

awaitable<Response> Api::create_batch(Call call) {
  if (!call.query.empty()) co_return problem_response(400, "this call takes no query parameters");
  const auto key = call.request.header("Idempotency-Key");
  if (key && !is_idempotency_key(*key)) co_return problem_response(faulty_idempotency_key());
  const auto& body = call.request.body;
  const std::string owner = call.caller.key_id;
  const std::string trace = traceparent_of(call.request.header("traceparent").value_or("")).value_or("");
  auto prepare = [&body, &owner, &trace, &context = context_, most = bounds_.batch_jobs] {
    return jobs_of(body, context, most, owner, trace);
  };
  auto accepted = co_await run_aside(body.size() > kLargeBytes, std::move(prepare));
  if (!accepted) co_return problem_response(accepted.error());
  const auto batch = std::make_shared<Batch>();
  batch->jobs = std::move(*accepted);
  for (auto& job : batch->jobs) {
    if (!job) continue;
    auto fault = co_await look_into_archive(*job);
    if (fault) job = std::unexpected(std::move(*fault));
  }
  const std::string digest = key ? sha256_digest(body) : std::string();
  const auto refused = co_await submit_batch(*batch, key, digest, owner);
  if (refused) co_return problem_response(*refused);

  const auto wanted = call.request.header("Accept").value_or("");
  if (accepts(wanted, kLines) && !accepts(wanted, "application/json")) {
    const auto wait = wait_of(call.request);
    Response response;
    response.content_type = kLines;
    response.headers.emplace_back("Cache-Control", "no-cache");
    if (wait) response.headers.emplace_back("Preference-Applied", fmt::format("wait={}", wait->count()));
    response.stream = [this, batch, wait, &client = call.client](BodySink& sink) {
      return stream_batch(batch, wait.value_or(std::chrono::seconds(0)), client, sink);
    };
    co_return response;
  }
  const auto wait = wait_of(call.request);
  co_await wait_for_batch(batch, wait, call.client);
  auto compose = [batch, &store = context_.store, waited = wait.has_value(), most = bounds_.inline_output_bytes]() {
    return items_text(batch->jobs, batch->ids, store, waited, most);
  };
  auto text = co_await run_aside(true, std::move(compose));
  if (!text) co_return problem_response(problem_of(text.error(), "read the jobs of a batch"));
  Response response = text_response(std::move(*text));
  if (wait) response.headers.emplace_back("Preference-Applied", fmt::format("wait={}", wait->count()));
  co_return response;
}

/// Until all of them have ended, the time is over or the client has left.
awaitable<void> Api::wait_for_batch(std::shared_ptr<const Batch> batch, std::optional<std::chrono::seconds> wait, Client& client) {
  using namespace boost::asio::experimental::awaitable_operators;
  if (!wait || wait->count() == 0) co_return;
  const auto deadline = std::chrono::steady_clock::now() + *wait;
  std::vector<std::string> changed;
  for (const auto& id : batch->ids)
    if (!id.empty()) changed.push_back(id);
  std::unordered_set<std::string> waiting(changed.begin(), changed.end());
  const auto watch = context_.jobs.watch(changed, News::ends);
  while (true) {
    for (const auto& id : changed) {
      const auto job = context_.store.get(id);
      if (!job || job->state == core::JobState::finished) waiting.erase(id);
    }
    if (waiting.empty() || std::chrono::steady_clock::now() >= deadline) co_return;
    auto news = co_await (watch->changed(deadline) || client.gone());
    if (news.index() == 1 || std::get<0>(news).empty()) co_return;
    changed = std::move(std::get<0>(news));
  }
}

awaitable<std::optional<Problem>> Api::submit_batch(Batch& batch, const std::optional<std::string>& key, const std::string& digest,
                                                    const std::string& owner) {
  std::unordered_map<std::string, std::shared_ptr<const void>> uses;  // of images, until the jobs are stored
  std::vector<storage::NewJob> jobs;
  std::vector<std::size_t> places;
  batch.ids.resize(batch.jobs.size());
  for (std::size_t i = 0; i < batch.jobs.size(); ++i) {
    auto& accepted = batch.jobs[i];
    if (!accepted) continue;
    if (context_.images != nullptr) {
      const auto [use, fresh] = uses.try_emplace(accepted->image);
      if (fresh) use->second = context_.images->begin_submission(accepted->image);
      if (use->second == nullptr) {
        accepted = std::unexpected(image_is_changing());
        continue;
      }
    }
    if (key) accepted->job.idempotency_key = key_of_item(*key, i);
    accepted->job.request_digest = digest;
    jobs.push_back(std::move(accepted->job));
    places.push_back(i);
  }
  std::vector<storage::Submitted> submitted;
  if (!jobs.empty()) {
    auto stored = co_await context_.jobs.submit_all(std::move(jobs));
    if (!stored && stored.error().kind == core::ErrorKind::conflict) co_return reused_idempotency_key();
    if (!stored && stored.error().kind == core::ErrorKind::invalid) co_return lost_blob();
    if (!stored) co_return problem_of(stored.error(), "accept a batch of jobs");
    submitted = std::move(*stored);
  }
  const auto quota = submitted.size() < places.size() ? context_.jobs.exhausted(owner) : Quota::none;
  const Problem full = quota != Quota::none ? full_quota(quota) : full_queue(context_.queue_bound);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (i < submitted.size()) batch.ids[places[i]] = std::move(submitted[i].id);
    else batch.jobs[places[i]] = std::unexpected(full);
  }
  co_return std::nullopt;
}

awaitable<bool> Api::send_batch_line(const Batch& batch, std::size_t index, BodySink& sink) {
  std::string line;
  if (batch.ids[index].empty()) {
    const auto& problem = batch.jobs[index].error();
    line = item_json(index, problem.status, "problem", problem_json(problem)).dump();
  } else {
    auto job = context_.store.get(batch.ids[index]);
    if (!job && job.error().kind == core::ErrorKind::not_found) {  // deleted since
      const std::string gone = item_json(index, 404, "problem", problem_json(no_such_job())).dump() + '\n';
      co_return co_await sink.send(gone);
    }
    if (!job) co_return false;
    const bool large = result_weight_bytes(*job) > kLargeBytes;
    const OutputPolicy policy{true, bounds_.inline_output_bytes};
    const bool paused = context_.jobs.paused().contains(job->id);
    auto compose = [stored = std::move(*job), &store = context_.store, policy, index, paused]() -> core::Result<std::string> {
      auto document = compose_job(stored, store, policy, paused);
      if (!document) return std::unexpected(std::move(document.error()));
      return item_json(index, stored.state == core::JobState::finished ? 200 : 202, "job", std::move(*document)).dump();
    };
    auto text = co_await run_aside(large, std::move(compose));
    if (!text) co_return false;
    line = std::move(*text);
  }
  line += '\n';
  const bool sent = co_await sink.send(line);
  co_return sent;
}

awaitable<bool> Api::stream_batch(std::shared_ptr<const Batch> batch, std::chrono::seconds wait, Client& client, BodySink& sink) {
  using namespace boost::asio::experimental::awaitable_operators;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  std::unordered_map<std::string, std::size_t> waiting;
  for (std::size_t i = 0; i < batch->ids.size(); ++i)
    if (!batch->ids[i].empty()) waiting.emplace(batch->ids[i], i);
  std::vector<std::string> changed;  // at first all of them: some may have ended already
  for (const auto& [id, index] : waiting) changed.push_back(id);
  const auto watch = context_.jobs.watch(changed, News::ends);
  for (std::size_t i = 0; i < batch->ids.size(); ++i) {
    if (!batch->ids[i].empty()) continue;
    const bool sent = co_await send_batch_line(*batch, i, sink);
    if (!sent) co_return false;
  }
  while (true) {
    for (const auto& id : changed) {
      const auto found = waiting.find(id);
      if (found == waiting.end()) continue;
      const auto job = context_.store.get(id);
      if (job && job->state != core::JobState::finished) continue;
      const bool sent = co_await send_batch_line(*batch, found->second, sink);
      if (!sent) co_return false;
      waiting.erase(id);
    }
    if (waiting.empty() || std::chrono::steady_clock::now() >= deadline) break;
    auto news = co_await (watch->changed(deadline) || client.gone());
    if (news.index() == 1 || std::get<0>(news).empty()) break;
    changed = std::move(std::get<0>(news));
  }
  for (std::size_t i = 0; i < batch->ids.size(); ++i) {
    if (!waiting.contains(batch->ids[i])) continue;
    const bool sent = co_await send_batch_line(*batch, i, sink);
    if (!sent) co_return false;
  }
  co_return true;
}

}  // namespace bailiff::server
