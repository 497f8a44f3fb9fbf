// Routes about what was captured of a step or test, also while it runs: the raw bytes of its stdout and stderr, what it used over time.
#include <fmt/core.h>

#include <charconv>

#include "core/id.h"
#include "server/api.h"
#include "server/api_job.h"
#include "server/bytes_response.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;

constexpr int kMostParts = 100'000;  // more than any job has steps or tests

std::optional<int> part_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool canonical = text == "0" || (!text.empty() && text.front() >= '1' && text.front() <= '9');
  if (error != std::errc{} || end != text.data() + text.size() || !canonical || number >= kMostParts) return std::nullopt;
  return number;
}

/// The bytes under a tag only ever grow while a step runs, so attempt and size name them.
std::string output_tag(const storage::StoredJob& job, int index, storage::Stream stream, std::uint64_t total_bytes) {
  return fmt::format("\"{}.{}.{}.{}.{}\"", job.id, job.attempt, index, static_cast<int>(stream), total_bytes);
}

}  // namespace

void Api::add_output_routes() {
  struct Part {
    const char* name;
    int first_index;
  };
  struct Named {
    const char* name;
    storage::Stream stream;
  };
  for (const Part part : {Part{"steps", 0}, Part{"tests", storage::kFirstTest}})
    for (const Named named : {Named{"stdout", storage::Stream::stdout_stream}, Named{"stderr", storage::Stream::stderr_stream}})
      router_.add({.method = "GET",
                   .pattern = fmt::format("/v1/jobs/{{id}}/{}/{{n}}/{}", part.name, named.name),
                   .scope = Scope::read,
                   .handler = [this, first = part.first_index,
                               stream = named.stream](Call call) { return show_output(std::move(call), first, stream); },
                   .media_type = "application/octet-stream"});
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/steps/{n}/usage", .scope = Scope::read, .handler = [this](Call call) {
                 return show_usage(std::move(call));
               }});
}

awaitable<Response> Api::show_usage(Call call) {
  const auto id = call.path_values[0];
  const auto number = part_number(call.path_values[1]);
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  if (!number) co_return problem_response(404, "the job has no such part");
  const auto step = static_cast<std::size_t>(*number);
  core::Json samples;
  if (const auto progress = context_.jobs.progress(id); progress && step < progress->steps.size()) {
    samples = core::Json::array();
    if (const auto& outcome = progress->steps[step].outcome) {
      samples = samples_to_json(outcome->samples);
    } else {
      const auto running = co_await context_.jobs.inspect(id);
      const bool is_last = step + 1 == progress->steps.size();  // of those that began: the one that runs
      if (running && !running->part.is_test && is_last) samples = samples_to_json(running->inspection.samples);
    }
  } else {
    const auto job = context_.store.get(id);
    if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
    if (job->state == core::JobState::finished) samples = stored_samples(*job, step);
  }
  if (samples.is_null()) co_return problem_response(404, "the job has no such part");
  core::Json document = core::Json::object();
  document["samples"] = std::move(samples);
  co_return json_response(200, document);
}

core::Result<storage::Store::Slice> Api::read_output(const std::string& id, int index, storage::Stream stream, std::uint64_t offset,
                                                     std::uint64_t length) {
  if (auto live = context_.jobs.live_output(id, index, stream, offset, length)) return std::move(*live);
  return context_.store.output(id, index, stream, offset, length);
}

awaitable<Response> Api::show_output(Call call, int first_index, storage::Stream stream) {
  const auto& id = call.path_values[0];
  const auto number = part_number(call.path_values[1]);
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  if (!number) co_return problem_response(404, "the job has no such part");
  const int index = first_index + *number;
  std::optional<std::uint64_t> total;
  if (const auto live = context_.jobs.live_output(id, index, stream, 0, 0)) total = live->total_bytes;
  auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  if (job->state == core::JobState::finished) total = stored_output_bytes(*job, index, stream);
  if (!total) {
    const bool finished = job->state == core::JobState::finished;
    co_return problem_response(404, finished ? "the job has no such part" : "this part of the job has no output yet");
  }

  co_return bytes_response(call.request, output_tag(*job, index, stream, *total), *total,
                           [this, id, index, stream](auto offset, auto length) {
                             auto slice = read_output(id, index, stream, offset, length);
                             return slice ? core::Result<std::string>(std::move(slice->bytes)) : std::unexpected(std::move(slice.error()));
                           });
}

}  // namespace bailiff::server
