// Routes about the server itself: languages, images, system, health, definition.
#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>

#include "core/clock.h"
#include "server/api.h"
#include "server/openapi.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(core::to_utf8(text)); }

Json language_to_json(const images::Language& language, const ApiContext& context) {
  const auto image = context.catalogue.find_image(language.image);
  const auto limits = core::at_most(core::apply(images::scaled(context.default_limits, language), language.limits), context.ceiling);
  return {{"name", language.name},
          {"title", language.title},
          {"aliases", language.aliases},
          {"version", text_or_null(language.version)},
          {"image", language.image},
          {"image_digest", image != nullptr ? Json(image->digest) : Json(nullptr)},
          {"source_file", language.source_file},
          {"compile", language.compile.empty() ? Json(nullptr) : Json(language.compile)},
          {"run", language.run},
          {"time_factor", language.time_factor},
          {"memory_factor", language.memory_factor},
          {"hello", language.hello},
          {"limits", core::limits_to_json(limits)}};
}

Json capability_to_json(const sandbox::Capability& capability) {
  return {{"name", capability.name}, {"present", capability.present}, {"detail", core::to_utf8(capability.detail)}};
}

/// What runs in a slot is told to who may see the job.
Json slot_to_json(const SlotInfo& slot, bool seen) {
  const char* state = !slot.alive ? "dead" : slot.job_id.empty() ? "idle" : "busy";
  return {{"index", slot.index}, {"state", state}, {"job", seen ? text_or_null(slot.job_id) : Json(nullptr)}};
}

std::string cgroup_version(const std::vector<sandbox::Capability>& capabilities) {
  const auto found = std::ranges::find(capabilities, "cgroup.version", &sandbox::Capability::name);
  return found == capabilities.end() ? "unknown" : found->detail;
}

Json host_to_json() {
  utsname names{};
  if (::uname(&names) != 0) return nullptr;
  return {{"system", names.sysname}, {"kernel", names.release}, {"machine", names.machine}};
}

}  // namespace

void Api::add_about_routes() {
  const auto immediate = [](auto make) { return [make](Call call) -> awaitable<Response> { co_return make(call); }; };
  router_.add({.method = "GET", .pattern = "/v1/languages", .scope = Scope::read, .handler = [this](Call call) {
                 return show_languages(std::move(call));
               }});
  router_.add({.method = "GET", .pattern = "/v1/system", .scope = Scope::read, .handler = [this](Call call) {
                 return show_system(std::move(call));
               }});
  router_.add({.method = "GET", .pattern = "/livez", .scope = Scope::none, .handler = immediate([](const Call&) {
                                                                             return json_response(200, {{"status", "ok"}});
                                                                           })});
  router_.add({.method = "GET", .pattern = "/readyz", .scope = Scope::none, .handler = immediate([this](const Call&) {
                                                                              if (context_.jobs.ready())
                                                                                return json_response(200, {{"status", "ok"}});
                                                                              return problem_response(
                                                                                  503, "not ready: starting, draining or without storage",
                                                                                  {{"Retry-After", "5"}});
                                                                            })});
  router_.add({.method = "GET",
               .pattern = "/metrics",
               .scope = Scope::read,
               .handler = immediate([this](const Call&) { return show_metrics(); }),
               .media_type = "text/plain"});
  router_.add({.method = "GET", .pattern = "/openapi.json", .scope = Scope::none, .handler = immediate([](const Call&) {
                                                                                    return Response{200,
                                                                                                    "application/json",
                                                                                                    {{"Cache-Control", "no-cache"}},
                                                                                                    std::string(openapi_document()),
                                                                                                    std::nullopt};
                                                                                  })});
  if (context_.pages != nullptr) return;  // "/" is theirs
  router_.add({.method = "GET", .pattern = "/", .scope = Scope::none, .handler = immediate([](const Call&) {
                                                                        return json_response(200, {{"name", "bailiff"},
                                                                                                   {"version", BAILIFF_VERSION},
                                                                                                   {"definition", "/openapi.json"},
                                                                                                   {"jobs", "/v1/jobs"}});
                                                                      })});
}

awaitable<Response> Api::show_languages(Call) {
  Json items = Json::array();
  for (const auto& language : context_.catalogue.languages()) items.push_back(language_to_json(language, context_));
  co_return json_response(200, {{"items", std::move(items)}, {"next_cursor", nullptr}});
}

awaitable<Response> Api::show_system(Call call) {
  const auto depth = context_.store.depth();
  if (!depth) co_return problem_response(problem_of(depth.error(), "count the queue"));
  Json capabilities = Json::array(), slots = Json::array();
  for (const auto& capability : context_.capabilities) capabilities.push_back(capability_to_json(capability));
  for (const auto& slot : context_.jobs.slots()) {
    const auto owner = call.caller.scopes.admin || slot.job_id.empty() ? core::Result<std::string>() : context_.store.owner(slot.job_id);
    const bool seen = owner && call.caller.sees(*owner);
    slots.push_back(slot_to_json(slot, seen));
  }
  const Json queue = {{"queued", depth->queued}, {"running", depth->running}, {"bound", context_.queue_bound}};
  const Json limits = {{"default", core::limits_to_json(context_.default_limits)},
                       {"compile_default", core::limits_to_json(context_.compile_default_limits)},
                       {"ceiling", core::limits_to_json(context_.ceiling)}};
  const Json cgroup = {{"version", cgroup_version(context_.capabilities)}, {"driver", context_.cgroup_driver}};
  co_return json_response(200, {{"version", BAILIFF_VERSION},
                                {"ready", context_.jobs.ready()},
                                {"host", host_to_json()},
                                {"cgroup", cgroup},
                                {"capabilities", std::move(capabilities)},
                                {"slots", std::move(slots)},
                                {"queue", queue},
                                {"limits", limits}});
}

Response Api::show_metrics() {
  const auto depth = context_.store.depth();
  const auto oldest = context_.store.oldest_queued_us();
  if (!depth || !oldest) return problem_response(problem_of(!depth ? depth.error() : oldest.error(), "look at the queue"));
  const auto webhooks = context_.store.pending_webhooks();
  if (!webhooks) return problem_response(problem_of(webhooks.error(), "count the webhooks"));
  Metrics::Now now;
  now.ready = context_.jobs.ready();
  now.depth = *depth;
  now.webhooks_pending = *webhooks;
  if (*oldest) now.oldest_queued = core::age(**oldest);
  for (const auto& slot : context_.jobs.slots()) ++(!slot.alive ? now.slots_dead : slot.job_id.empty() ? now.slots_idle : now.slots_busy);
  Response response{200, "text/plain; version=0.0.4; charset=utf-8", {}, context_.metrics.text(now), std::nullopt};
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

}  // namespace bailiff::server
