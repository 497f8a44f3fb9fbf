// Routes about images: what there is, bringing one in, removing one.
#include <algorithm>

#include "images/file_range.h"
#include "images/file_tree.h"
#include "server/api.h"
#include "server/async_result.h"
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

constexpr std::string_view kArchiveTypes[] = {"application/octet-stream", "application/x-tar"};

bool is_media_type(std::string_view content_type, std::string_view type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ') || content_type.ends_with('\t')) content_type.remove_suffix(1);
  return equals_ignoring_case(content_type, type);
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
  router_.add({.method = "GET", .pattern = "/v1/images", .scope = Scope::read, .handler = [this](Call call) {
                 return show_images(std::move(call));
               }});
  router_.add({.method = "POST",
               .pattern = "/v1/images",
               .scope = Scope::admin,
               .handler = [this](Call call) { return import_image(std::move(call)); },
               .takes_file = true});
  router_.add({.method = "DELETE", .pattern = "/v1/images/{name}", .scope = Scope::admin, .handler = [this](Call call) {
                 return delete_image(std::move(call));
               }});
}

std::optional<core::Result<Api::BodyFile>> Api::body_file(const Request& request) const {
  const auto target = parse_target(request.target);
  const auto match = target ? router_.match(request.method, *target) : Match{};
  if (match.route == nullptr || !match.route->takes_file) return std::nullopt;
  if (context_.images == nullptr) return core::error(core::ErrorKind::unavailable, "no files are taken here");
  auto file = context_.images->archive_file();
  if (!file) return std::unexpected(std::move(file.error()));
  return BodyFile{std::move(*file), match.route->pattern == "/v1/blobs" ? bounds_.blob_bytes : bounds_.file_bytes};
}

/// Everything that can be known before gigabytes are received. The content types are none that a page of another site can send by itself.
std::optional<Response> Api::fault_of_upload(const Request& request, const Target& target) const {
  const auto content_type = request.header("Content-Type").value_or("");
  if (std::ranges::none_of(kArchiveTypes, [&](auto type) { return is_media_type(content_type, type); }))
    return problem_response(415, "the body must be application/octet-stream or application/x-tar",
                            {{"Accept", "application/octet-stream, application/x-tar"}});
  const auto encoding = request.header("Content-Encoding");
  if (encoding && !equals_ignoring_case(*encoding, "identity"))
    return problem_response(415, "a body that is compressed on the way is not supported", {{"Accept-Encoding", "identity"}});
  if (target.query.size() != 1 || target.query.front().first != "name")
    return problem_response(422, "say ?name=NAME, what the image shall be called, and nothing else");
  const auto& name = target.query.front().second;
  if (!images::is_image_name(name)) return problem_response(422, "name: expected a-z 0-9 . _ + -, at most 64, not \"host\" or \"sha256…\"");
  if (context_.images != nullptr && context_.images->is_reserved(name))
    return problem_response(409, "languages are defined for an image of this name; the server's operator brings it, with `bailiff image`");
  return std::nullopt;
}

awaitable<core::Status> Api::write_body(const core::Fd& file, std::string_view bytes, std::uint64_t offset) {
  auto write = [fd = file.get(), bytes, offset]() -> core::Status {
    if (auto room = images::check_disk(fd, bytes.size(), images::ImportBounds{}.disk_floor_bytes); !room) return room;
    return images::write_at(fd, bytes, offset);
  };
  auto writing = offload(files_, std::move(write));
  co_return co_await std::move(writing);
}

awaitable<Response> Api::show_images(Call) {
  Json items = Json::array();
  for (const auto& image : context_.catalogue.images()) items.push_back(image_to_json(image, context_.catalogue));
  co_return json_response(200, {{"items", std::move(items)}, {"next_cursor", nullptr}});
}

awaitable<Response> Api::import_image(Call call) {
  const std::string name = call.query.front().second;  // fault_of_upload() saw it
  if (context_.images == nullptr || call.request.body_file == nullptr) co_return problem_response(503, "images cannot be changed here");
  auto imported = co_await context_.images->import(name, std::move(*call.request.body_file));
  if (!imported) co_return problem_response(problem_of_image(imported.error()));
  log_act(call.caller, "image.import", name);
  Json document = image_to_json(images::image_of(imported->image), context_.catalogue);
  document["notes"] = imported->notes;
  Response response = json_response(201, document);
  response.headers.emplace_back("Location", "/v1/images/" + name);
  co_return response;
}

awaitable<Response> Api::delete_image(Call call) {
  if (context_.images == nullptr) co_return problem_response(503, "images cannot be changed here");
  const auto removed = co_await context_.images->remove(call.path_values[0]);
  if (!removed) co_return problem_response(problem_of_image(removed.error()));
  log_act(call.caller, "image.delete", call.path_values[0]);
  co_return Response{204, {}, {}, {}, std::nullopt};
}

}  // namespace bailiff::server
