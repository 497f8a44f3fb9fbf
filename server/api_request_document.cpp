// The stored form of a job request: written when the job is accepted, read when it runs.
#include <nlohmann/json.hpp>

#include "core/json/json.h"
#include "server/api_json.h"
#include "server/api_request.h"

namespace bailiff::server {
namespace {

using core::Json;

template <class Map>
Json object_of(const Map& map) {
  Json object = Json::object();
  for (const auto& [name, value] : map) object[name] = value;
  return object;
}

void put_overrides(Json& object, const core::LimitOverrides& limits) {
  if (limits != core::LimitOverrides{}) object["limits"] = core::overrides_to_json(limits);
}

Json to_json(const core::Content& content) { return content.blob ? Json{{"blob", *content.blob}} : core::content_to_json(content.bytes); }

void put_stdin(Json& object, const core::Content& content) {
  if (content.blob || !content.bytes.empty()) object["stdin"] = to_json(content);
}

Json step_to_json(const core::StepSpec& step) {
  Json object = {{"name", step.name}, {"command", step.command}};
  if (!step.env.empty()) object["env"] = object_of(step.env);
  if (!step.cwd.empty()) object["cwd"] = step.cwd;
  put_stdin(object, step.stdin_content);
  put_overrides(object, step.limits);
  if (step.always) object["always"] = true;
  return object;
}

Json test_to_json(const core::TestSpec& test) {
  Json object = {{"name", test.name}};
  put_stdin(object, test.stdin_content);
  if (test.expected) object["expected"] = to_json(*test.expected);
  put_overrides(object, test.limits);
  if (test.points != 1) object["points"] = test.points;
  return object;
}

void put_checker(Json& object, const core::Checker& checker) {
  using Kind = core::Checker::Kind;
  if (checker.kind == Kind::lines) object["checker"] = "lines";
  if (checker.kind == Kind::exact) object["checker"] = "exact";
  if (checker.kind == Kind::floats) object["checker"] = {{"floats", {{"absolute", checker.absolute}, {"relative", checker.relative}}}};
}

/// Defaults are left out, so that the document stays small.
Json request_to_json(const core::JobSpec& spec) {
  Json object = Json::object();
  if (spec.language) object["language"] = *spec.language;
  if (spec.image) object["image"] = *spec.image;
  if (spec.source) object["source"] = to_json(*spec.source);
  for (const auto& [path, content] : spec.files) object["files"][path] = to_json(content);
  for (const auto& step : spec.steps) object["steps"].push_back(step_to_json(step));
  if (!spec.args.empty()) object["args"] = spec.args;
  put_stdin(object, spec.stdin_content);
  if (!spec.env.empty()) object["env"] = object_of(spec.env);
  put_overrides(object, spec.limits);
  if (spec.priority != 0) object["priority"] = spec.priority;
  if (!spec.labels.empty()) object["labels"] = object_of(spec.labels);
  for (const auto& test : spec.tests) object["tests"].push_back(test_to_json(test));
  put_checker(object, spec.checker);
  if (!spec.stop_on_failure) object["stop_on_failure"] = false;
  if (spec.archive) object["archive"] = to_json(*spec.archive);
  if (!spec.artifacts.empty()) object["artifacts"] = spec.artifacts;
  if (spec.interactive == core::Interactive::pipe) object["interactive"] = true;
  if (spec.interactive == core::Interactive::terminal) object["interactive"]["tty"] = true;
  return object;
}

}  // namespace

std::string stored_request(const core::JobSpec& spec, const images::Catalogue& catalogue, const std::string& traceparent) {
  Json document = Json::object();
  const images::Language* language = spec.language ? catalogue.find_language(*spec.language) : nullptr;
  if (spec.language) document["language"] = *spec.language;
  const std::string image_name = language != nullptr ? language->image : spec.image.value_or("");
  if (language != nullptr && !language->version.empty()) document["language_version"] = core::to_utf8(language->version);
  const auto image = catalogue.find_image(image_name);
  document["image"] = image_name;
  document["image_digest"] = image != nullptr ? Json(image->digest) : Json(nullptr);
  if (!traceparent.empty()) document["traceparent"] = traceparent;
  // Beside the request, which is not read to tell it.
  if (spec.interactive != core::Interactive::no)
    document["interactive"] = spec.interactive == core::Interactive::terminal ? "terminal" : "pipe";
  document["request"] = request_to_json(spec);
  return document.dump();
}

namespace {

/// A job's answer names the digest that it was accepted for, so it runs in nothing else.
std::optional<Problem> changed_image(const Json& document, const core::JobSpec& spec, const images::Catalogue& catalogue) {
  const images::Language* language = spec.language ? catalogue.find_language(*spec.language) : nullptr;
  const std::string name = language != nullptr ? language->image : spec.image.value_or("");
  const auto stored = document.find("image_digest");
  if (stored == document.end() || !stored->is_string()) return std::nullopt;
  const auto image = catalogue.find_image(name);
  if (image != nullptr && image->digest == stored->get_ref<const std::string&>()) return std::nullopt;
  return Problem{409, "the image " + name + " is not the one any more that the job was accepted for", {}, {}};
}

}  // namespace

std::expected<core::JobSpec, Problem> decode_stored_request(std::string_view stored, const images::Catalogue& catalogue) {
  auto parsed = parse_json(stored);
  if (!parsed || !parsed->value.is_object() || !parsed->value.contains("request"))
    return std::unexpected(Problem{500, "the stored request cannot be read", {}, {}});
  core::Limits unbounded{};
  for (const auto& field : core::kLimitFields) unbounded.*field.member = field.zero_is_none ? 0 : UINT64_MAX;
  auto spec = decode_job(parsed->value["request"], RequestRules{catalogue, unbounded, unbounded});
  if (!spec) return spec;
  if (auto changed = changed_image(parsed->value, *spec, catalogue)) return std::unexpected(std::move(*changed));
  return spec;
}

}  // namespace bailiff::server
