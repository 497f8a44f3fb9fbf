// The route that gives a job's request back: what "run again" sends, and what a page shows of it.
#include "core/id.h"
#include "server/api.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;

constexpr std::size_t kLargeBytes = 64 * 1024;  // as of other documents: some 0.5 ms of JSON work

/// As it was stored: names for aliases, defaults left out, no webhook.
core::Result<std::string> request_text(const std::string& stored) {
  auto document = core::Json::parse(stored, nullptr, false);
  if (!document.is_object() || !document.contains("request"))
    return core::error(core::ErrorKind::internal, "the stored request cannot be read");
  return document["request"].dump();
}

}  // namespace

void Api::add_stored_request_routes() {
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/request", .scope = Scope::read, .handler = [this](Call call) {
                 return show_request(std::move(call));
               }});
}

awaitable<Response> Api::show_request(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  const bool large = job->request.size() > kLargeBytes;
  auto work = [stored = std::move(job->request)] { return request_text(stored); };
  auto text = co_await run_aside(large, std::move(work));
  if (!text) co_return problem_response(problem_of(text.error(), "read a job's request"));
  co_return text_response(std::move(*text));
}

}  // namespace bailiff::server
