// Routes about the files that a job left: which there are, one of them, all of them as a tar.
#include <fmt/core.h>

#include <algorithm>

#include "core/id.h"
#include "images/tar_writer.h"
#include "server/api.h"
#include "server/api_job.h"
#include "server/bytes_response.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

constexpr std::uint64_t kSliceBytes = 256 * 1024;
constexpr const char* kTar = "application/x-tar";

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
Problem unknown_parameter() { return {400, "the query may have format=tar, and nothing else", {}, {}}; }
Problem no_such_artifact() { return {404, "the job has no such artifact", {}, {}}; }

/// RFC 6266, RFC 8187: the last part of the path, whatever is in it.
std::string attachment(std::string_view path) {
  std::string name;
  for (const char c : path.substr(path.rfind('/') + 1)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return "attachment; filename*=UTF-8''" + name;
}

}  // namespace

void Api::add_artifact_routes() {
  router_.add({.method = "GET",
               .pattern = "/v1/jobs/{id}/artifacts",
               .scope = Scope::read,
               .handler = [this](Call call) { return list_artifacts(std::move(call)); },
               .other_media_type = kTar});
  router_.add({.method = "GET",
               .pattern = "/v1/jobs/{id}/artifacts/{path*}",
               .scope = Scope::read,
               .handler = [this](Call call) { return show_artifact(std::move(call)); },
               .media_type = "application/octet-stream"});
}

/// All files one after the other, read while they are sent.
awaitable<bool> Api::send_tar(std::string id, Json artifacts, std::int64_t mtime_s, BodySink& sink) {
  images::TarWriter tar;
  for (const auto& artifact : artifacts) {
    const auto path = artifact["path"].get<std::string>();
    const auto bytes = artifact["bytes"].get<std::uint64_t>();
    if (!tar.begin_file(path, bytes, mtime_s)) co_return false;
    for (std::uint64_t offset = 0; offset < bytes; offset += kSliceBytes) {
      const auto slice = context_.store.artifact(id, path, offset, kSliceBytes);
      if (!slice || !tar.add(slice->bytes)) co_return false;
      const std::string made = tar.take();
      const bool sent = co_await sink.send(made);
      if (!sent) co_return false;
    }
  }
  if (!tar.end()) co_return false;
  const std::string rest = tar.take();
  const bool sent = co_await sink.send(rest);
  co_return sent;
}

awaitable<Response> Api::list_artifacts(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const bool tar = call.query.size() == 1 && call.query.front() == std::pair<std::string, std::string>("format", "tar");
  if (!call.query.empty() && !tar) co_return problem_response(unknown_parameter());
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  Json artifacts = artifacts_of(*job);
  if (!tar) {
    Json page = {{"items", std::move(artifacts)}, {"next_cursor", nullptr}};
    co_return json_response(200, page);
  }
  Response response;
  response.content_type = kTar;
  response.headers.emplace_back("Cache-Control", "no-cache");
  response.headers.emplace_back("Content-Disposition", attachment("artifacts-" + id + ".tar"));
  response.stream = [this, id, artifacts = std::move(artifacts), mtime_s = job->finished_us.value_or(0) / 1'000'000](BodySink& sink) {
    return send_tar(id, artifacts, mtime_s, sink);
  };
  co_return response;
}

awaitable<Response> Api::show_artifact(Call call) {
  const auto& id = call.path_values[0];
  const auto path = call.path_values[1];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  const Json artifacts = artifacts_of(*job);
  const auto found = std::ranges::find_if(artifacts, [&](const Json& artifact) { return artifact["path"] == path; });
  if (found == artifacts.end()) co_return problem_response(no_such_artifact());
  auto read = [&store = context_.store, id, path](std::uint64_t offset, std::uint64_t length) {
    auto slice = store.artifact(id, path, offset, length);
    return slice ? core::Result<std::string>(std::move(slice->bytes)) : std::unexpected(std::move(slice.error()));
  };
  const std::string tag = '"' + (*found)["digest"].get<std::string>() + '"';
  Response response = bytes_response(call.request, tag, (*found)["bytes"].get<std::uint64_t>(), std::move(read));
  response.headers.emplace_back("Content-Disposition", attachment(path));
  co_return response;
}

}  // namespace bailiff::server
