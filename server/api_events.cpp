// GET /v1/jobs/{id}/events: what happens to a job, as it happens.
#include "core/id.h"
#include "server/api.h"
#include "server/job_events.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;

awaitable<bool> stream_events(Jobs& jobs, storage::Store& store, const HttpBounds& bounds, std::string id, JobPosition position,
                              Client& client, BodySink& sink) {
  JobEvents events(jobs, store, bounds, std::move(id), position, sink);
  co_return co_await events.run(client);
}

}  // namespace

void Api::add_event_routes() {
  router_.add({.method = "GET",
               .pattern = "/v1/jobs/{id}/events",
               .scope = Scope::read,
               .handler = [this](Call call) { return show_events(std::move(call)); },
               .media_type = "text/event-stream"});
}

awaitable<Response> Api::show_events(Call call) {
  const auto id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  if (!call.query.empty()) co_return problem_response(400, "this call takes no query parameters");
  JobPosition position;
  if (const auto last = call.request.header("Last-Event-ID"); last && !last->empty()) {
    const auto known = JobPosition::parse(*last);
    if (!known) co_return problem_response(400, "Last-Event-ID is not the id of an event of this server");
    position = *known;
  }
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  Response response;
  response.headers.emplace_back("Cache-Control", "no-store");
  // Which tells an EventSource not to come again.
  if (position.told == JobPosition::done && job->state == core::JobState::finished) {
    response.status = 204;
    co_return response;
  }
  response.content_type = "text/event-stream";
  response.stream = [this, id, position, &client = call.client](BodySink& sink) {
    return stream_events(context_.jobs, context_.store, bounds_, id, position, client, sink);
  };
  co_return response;
}

}  // namespace bailiff::server
