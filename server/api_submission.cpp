#include "server/api_submission.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/clock.h"
#include "server/api_request.h"
#include "server/blob_content.h"
#include "server/log.h"
#include "server/step_plan.h"

namespace bailiff::server {
namespace {

constexpr std::size_t kMaxKeyBytes = 255;

}  // namespace

std::expected<AcceptedJob, Problem> accept_job(const nlohmann::json& request, std::vector<Fault> duplicates, const ApiContext& context,
                                               const std::string& owner, const std::string& traceparent) {
  RequestRules rules{context.catalogue, context.default_limits, context.ceiling, !context.lacks("cgroup.blkio"), context.webhooks};
  rules.blob_bytes = [&](const std::string& digest) -> std::optional<std::uint64_t> {
    const auto blob = context.store.blob(owner, digest, 0, 0);
    return blob ? std::optional(blob->total_bytes) : std::nullopt;
  };
  auto spec = decode_job(request, rules);
  if (!spec || !duplicates.empty()) {
    Problem problem = spec ? Problem{422, "the job request has faults; each is listed with its place", {}, {}} : std::move(spec.error());
    problem.errors.insert(problem.errors.begin(), duplicates.begin(), duplicates.end());
    return std::unexpected(std::move(problem));
  }
  storage::NewJob job;
  job.owner = owner;
  job.blobs = blobs_of(*spec);
  job.priority = spec->priority;
  job.labels = spec->labels;
  job.request = stored_request(*spec, context.catalogue, traceparent);
  if (spec->webhook) {
    auto& [url, secret] = *spec->webhook;
    auto origin = parse_webhook_url(url, context.webhooks)->origin();
    job.webhook = storage::Webhook{std::move(url), std::move(secret), std::move(origin)};
  }
  const auto* language = spec->language ? context.catalogue.find_language(*spec->language) : nullptr;
  const std::string image = language != nullptr ? language->image : spec->image.value_or("");
  if (spec->archive && !context.unpack)
    return std::unexpected(
        Problem{422, "the job request has faults; each is listed with its place", {{"/archive", "archives are not unpacked here"}}, {}});
  AcceptedJob accepted{std::move(job), image};
  if (spec->archive) {
    accepted.archive_limits = placing_limits(*spec, language, {context.default_limits, context.compile_default_limits, context.ceiling});
    for (const auto& [path, content] : spec->files) accepted.placed.insert(path);
    if (spec->source && language != nullptr) accepted.placed.insert(language->source_file);
    accepted.archive = std::move(spec->archive);
  }
  return accepted;
}

std::optional<Problem> fault_of_archive(const AcceptedJob& job, const ApiContext& context) {
  if (!job.archive) return std::nullopt;
  std::string bytes = job.archive->bytes;
  if (job.archive->blob) {
    auto blob = context.store.blob(job.job.owner, *job.archive->blob, 0, kMaxJobBlobBytes);
    if (!blob) return lost_blob();
    bytes = std::move(blob->bytes);
  }
  const auto unpacked = context.unpack(bytes, archive_bounds(job.archive_limits));
  const auto fits = unpacked ? check_placed(*unpacked, job.placed) : core::Status(std::unexpected(unpacked.error()));
  if (fits) return std::nullopt;
  if (fits.error().kind == core::ErrorKind::invalid)
    return Problem{422,
                   "the job request has faults; each is listed with its place",
                   {{"/archive", "cannot be unpacked: " + core::to_utf8(fits.error().what)}},
                   {}};
  log_error("an archive could not be looked into", {{"error", fits.error()}});
  return Problem{503, "the archive could not be looked into; try again later", {}, {{"Retry-After", "5"}}};
}

bool is_idempotency_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKeyBytes && std::ranges::all_of(key, [](char c) { return c >= 0x20 && c < 0x7F; });
}

Problem faulty_idempotency_key() {
  return {400, fmt::format("Idempotency-Key must be 1 to {} printable ASCII characters", kMaxKeyBytes), {}, {}};
}

Problem reused_idempotency_key() { return {422, "this Idempotency-Key was used with another body", {}, {}}; }

Problem lost_blob() { return {422, "a blob that the job names is not there any more; bring it again", {}, {}}; }

Problem full_queue(std::uint64_t bound) {
  return {429, fmt::format("the queue is full: it holds {} jobs", bound), {}, {{"Retry-After", "5"}}};
}

Problem full_quota(Quota quota) {
  if (quota == Quota::unknown) return {503, "the server cannot do this now; try again later", {}, {{"Retry-After", "1"}}};
  if (quota == Quota::stored_bytes)
    return {429,
            "this key has as many bytes stored as it may: delete jobs that have ended; blobs go a while after their last use",
            {},
            {{"Retry-After", "60"}}};
  if (quota == Quota::queued_jobs) return {429, "this key has as many jobs queued as it may", {}, {{"Retry-After", "5"}}};
  const auto left_s = (storage::kHourUs - core::unix_us() % storage::kHourUs) / 1'000'000 + 1;
  return {429, "the jobs of this key have had as much CPU time as they may in this hour", {}, {{"Retry-After", std::to_string(left_s)}}};
}

}  // namespace bailiff::server
