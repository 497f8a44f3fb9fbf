// Routes about images: what there is, bringing one in, removing one.
#include <algorithm>

#include "server/api.h"
#include "server/http_fields.h"
#include "server/image_service.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

Json image_to_json(const images::Image& image, const images::Catalogue& catalogue) {
  Json languages = Json::array();
  for (const auto& language : catalogue.languages())
    if (language.image == image.name) languages.push_back(language.name);
  return {{"name", image.name},
          {"kind", image.kind},
          {"digest", image.digest},
          {"bytes", image.kind == "erofs" ? Json(image.bytes) : Json(nullptr)},
          {"languages", std::move(languages)},
          {"env", image.env},
          {"workdir", image.workdir.empty() ? Json(nullptr) : Json(core::to_utf8(image.workdir))},
          {"entrypoint", image.entrypoint}};
}

/// What a client may know of a change that failed: all of it where it is about the client's own input.
Problem problem_of_image(const core::Error& error) {
  switch (error.kind) {
    case core::ErrorKind::invalid: return {422, core::to_utf8(error.what), {}, {}};
    case core::ErrorKind::conflict: return {409, core::to_utf8(error.what), {}, {}};
    case core::ErrorKind::not_found: return {404, "no image has this name", {}, {}};
    default: return problem_of(error, "change an image");
  }
}

}  // namespace

void Api::add_image_routes() {
  router_.add({.method = "GET", .pattern = "/v1/images", .handler = [this](Call call) { return show_images(std::move(call)); }});
  router_.add({.method = "POST",
               .pattern = "/v1/images",
               .handler = [this](Call call) { return import_image(std::move(call)); },
               .takes_file = true});
  router_.add({.method = "DELETE", .pattern = "/v1/images/{name}", .handler = [this](Call call) { return delete_image(std::move(call)); }});
}

std::optional<core::Result<std::shared_ptr<core::Fd>>> Api::body_file(const Request& request) const {
  const auto target = parse_target(request.target);
  const auto match = target ? router_.match(request.method, *target) : Match{};
  if (match.route == nullptr || !match.route->takes_file) return std::nullopt;
  if (context_.images == nullptr) return core::error(core::ErrorKind::unavailable, "images cannot be changed here");
  return context_.images->archive_file();
}

awaitable<Response> Api::show_images(Call) {
  Json items = Json::array();
  for (const auto& image : context_.catalogue.images()) items.push_back(image_to_json(image, context_.catalogue));
  co_return json_response(200, {{"items", std::move(items)}, {"next_cursor", nullptr}});
}

awaitable<Response> Api::import_image(Call call) {
  const auto name = std::ranges::find(call.query, "name", [](const auto& parameter) { return parameter.first; });
  const bool alone = call.query.size() == 1 && name != call.query.end();
  if (!alone) co_return problem_response(422, "say ?name=NAME, what the image shall be called, and nothing else");
  if (!images::is_image_name(name->second))
    co_return problem_response(422, "name: expected a-z 0-9 . _ + -, at most 64, not \"host\" or \"sha256…\"");
  if (context_.images == nullptr || call.request.body_file == nullptr) co_return problem_response(503, "images cannot be changed here");
  auto imported = co_await context_.images->import(name->second, std::move(*call.request.body_file));
  if (!imported) co_return problem_response(problem_of_image(imported.error()));
  Json document = image_to_json(images::image_of(imported->image), context_.catalogue);
  document["notes"] = imported->notes;
  Response response = json_response(201, document);
  response.headers.emplace_back("Location", "/v1/images/" + name->second);
  co_return response;
}

awaitable<Response> Api::delete_image(Call call) {
  if (context_.images == nullptr) co_return problem_response(503, "images cannot be changed here");
  const auto removed = co_await context_.images->remove(call.path_values[0]);
  if (!removed) co_return problem_response(problem_of_image(removed.error()));
  co_return Response{204, {}, {}, {}, std::nullopt};
}

}  // namespace bailiff::server
