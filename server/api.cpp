#include "server/api.h"

#include <algorithm>
#include <exception>

#include "server/http_fields.h"
#include "server/log.h"
#include "server/web_pages.h"

namespace bailiff::server {
namespace {

constexpr const char* kProblemType = "application/problem+json";

/// Entity tag of a read, and 304 where the client has it already (RFC 9110 section 13.2.2).
void revalidate(const Request& request, Response& response) {
  if (response.status != 200 && response.status != 206) return;
  const auto find_tag = [&] { return std::ranges::find(response.headers, "ETag", &Headers::value_type::first); };
  if (find_tag() == response.headers.end()) {
    if (response.status != 200 || response.source || response.stream) return;
    response.headers.emplace_back("ETag", entity_tag(response.body));
  }
  const auto tag = find_tag();
  const auto known = request.header("If-None-Match");
  if (!known || !matches_tag(*known, tag->second)) return;
  response = Response{304, {}, {*tag, {"Cache-Control", "no-cache"}}, {}, std::nullopt};
}

constexpr const char* kFailure = "the server failed to answer; its log tells why";

Response failed(const Request& request, const std::exception& e) {
  log_error("request failed", {{"method", request.method}, {"target", request.target}, {"error", e.what()}});
  return problem_response(500, kFailure);
}

}  // namespace

Response problem_response(const Problem& problem) {
  Response response{problem.status, kProblemType, problem.headers, problem_text(problem), std::nullopt};
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

Response problem_response(unsigned status, std::string detail, Headers headers) {
  return problem_response(Problem{status, std::move(detail), {}, std::move(headers)});
}

Response text_response(std::string json_text) {
  return {200, "application/json", {{"Cache-Control", "no-cache"}}, std::move(json_text), std::nullopt};
}

Response json_response(unsigned status, const core::Json& document) {
  Response response{status, "application/json", {}, document.dump(), std::nullopt};
  response.headers.emplace_back("Cache-Control", "no-cache");
  return response;
}

Problem problem_of(const core::Error& error, std::string_view doing) {
  using core::ErrorKind;
  if (error.kind == ErrorKind::not_found) return {404, "no such thing", {}, {}};
  log_error("request failed", {{"doing", std::string(doing)}, {"error", error}});
  if (error.kind == ErrorKind::unavailable) return {503, "the server cannot do this now; try again later", {}, {{"Retry-After", "5"}}};
  return {500, kFailure, {}, {}};
}

Problem problem_of_job(const core::Error& error, std::string_view doing) {
  return error.kind == core::ErrorKind::not_found ? no_such_job() : problem_of(error, doing);
}

Problem no_such_job() { return {404, "no job has this id", {}, {}}; }

Api::Api(ApiContext context, const HttpBounds& bounds) : context_(std::move(context)), bounds_(bounds) {
  add_job_routes();
  add_output_routes();
  add_running_routes();
  add_about_routes();
  add_image_routes();
  add_stored_request_routes();
  add_batch_routes();
  add_event_routes();
  add_key_routes();
  add_webhook_routes();
  add_blob_routes();
  add_artifact_routes();
  if (context_.pages != nullptr) add_page_routes(router_, *context_.pages);
}

std::expected<Api::Admitted, Response> Api::admit(const Request& request) const {
  const auto refuse = [](Response response) { return std::unexpected(std::move(response)); };
  if (request.method == "OPTIONS" && request.target == "*")
    return refuse({204, {}, {{"Allow", "GET, HEAD, POST, DELETE, OPTIONS"}}, {}, std::nullopt});
  auto target = parse_target(request.target);
  if (!target) return refuse(problem_response(400, "the request target is malformed"));
  auto match = router_.match(request.method, *target);
  if (match.allow.empty()) return refuse(problem_response(404, "nothing is here; GET /openapi.json tells what there is"));
  if (request.method == "OPTIONS") return refuse({204, {}, {{"Allow", match.allow}}, {}, std::nullopt});
  if (match.route == nullptr) return refuse(problem_response(405, "this path has " + match.allow, {{"Allow", match.allow}}));
  auto caller = context_.access.caller(request, match.route->scope);
  if (!caller) return refuse(problem_response(caller.error()));
  return Admitted{std::move(*target), std::move(match), std::move(*caller)};
}

std::optional<Response> Api::answer_head(const Request& request) const {
  auto admitted = admit(request);
  if (!admitted) return std::move(admitted.error());
  const auto& route = *admitted->match.route;
  const auto wanted = request.header("Accept").value_or("");
  if (!accepts(wanted, route.media_type) && (route.other_media_type.empty() || !accepts(wanted, route.other_media_type)))
    return problem_response(406, "the answer would be " + route.media_type + ", which Accept refuses");
  if (route.takes_file && route.pattern == "/v1/blobs") return fault_of_blob_upload(admitted->target);
  if (route.takes_file) return fault_of_upload(request, admitted->target);
  if (!route.takes_json) return std::nullopt;
  const auto content_type = request.header("Content-Type");
  if (content_type && !is_json_type(*content_type))
    return problem_response(415, "the body must be application/json in UTF-8", {{"Accept", "application/json"}});
  const auto encoding = request.header("Content-Encoding");
  if (encoding && !equals_ignoring_case(*encoding, "identity"))
    return problem_response(415, "a compressed body is not supported", {{"Accept-Encoding", "identity"}});
  return std::nullopt;
}

// Every route about one job begins with its id, so one look is enough for all of them.
std::optional<Problem> Api::fault_of_owner(const Admitted& admitted) const {
  if (admitted.caller.scopes.admin || !admitted.match.route->pattern.starts_with("/v1/jobs/{id}")) return std::nullopt;
  const auto owner = context_.store.owner(admitted.match.path_values.at(0));
  if (!owner) return problem_of_job(owner.error(), "look whose a job is");
  if (!admitted.caller.sees(*owner)) return no_such_job();
  return std::nullopt;
}

boost::asio::awaitable<Response> Api::handle(const Request& request, Client& client) {
  if (auto answer = answer_head(request)) co_return std::move(*answer);
  Response response;
  try {
    auto admitted = admit(request);
    if (!admitted) co_return std::move(admitted.error());
    if (const auto fault = fault_of_owner(*admitted)) {
      response = problem_response(*fault);
    } else {
      auto& match = admitted->match;
      Call call{request, std::move(match.path_values), std::move(admitted->target.query), client, admitted->caller};
      response = co_await match.route->handler(std::move(call));
      if (match.route->method == "GET") revalidate(request, response);
    }
  } catch (const std::exception& e) {
    response = failed(request, e);
  }
  if (!response.upgrade) context_.metrics.answered(response.status);  // what it becomes, the session decides
  co_return response;
}

}  // namespace bailiff::server
