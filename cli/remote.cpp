#include "cli/remote.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "cli/exec.h"
#include "cli/input.h"
#include "cli/render.h"

namespace bailiff::cli {
namespace {

using core::Json;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

/// One exchange asks for no longer than this, so that a lost connection is noticed.
constexpr seconds kWaitSlice{20}, kSlack{30};
constexpr std::size_t kPageSize = 100;

bool is_finished(const Json& job) { return job.is_object() && job.value("state", "") == "finished"; }

std::string id_of(const Json& job) {
  return job.is_object() && job.contains("id") && job["id"].is_string() ? job["id"].get<std::string>() : "";
}

seconds slice_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<seconds>(deadline - Clock::now());
  return std::clamp(left, seconds{0}, kWaitSlice);
}

void ask_to_wait(HttpRequest& request, seconds time) {
  if (time <= seconds{0}) return;
  request.headers.push_back(fmt::format("Prefer: wait={}", time.count()));
  request.at_most = time + kSlack;
}

/// The job as it is when it is finished or the deadline is over.
Expected<Json> wait_for(HttpClient& client, Json job, Clock::time_point deadline) {
  while (!is_finished(job) && Clock::now() < deadline) {
    HttpRequest request{.path = "/v1/jobs/" + percent_encode(id_of(job))};
    ask_to_wait(request, slice_until(deadline));
    const auto asked = Clock::now();
    auto next = client.json(request);
    if (!next) return next;
    job = std::move(*next);
    // A server that does not hold its answer back must not be asked in a tight loop.
    if (!is_finished(job) && Clock::now() - asked < seconds{1}) ::poll(nullptr, 0, 1000);
  }
  return job;
}

std::string dump(const Json& document) { return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

Expected<ExitCode> print(const Stream& stream, std::string_view text, ExitCode code) {
  if (auto written = stream.write(text); !written) return failure(kExitInternal, written.error().what);
  return code;
}

ExitCode code_of(const Json& job, bool waited) {
  if (is_finished(job)) return exit_code(verdict_of(job));
  return waited ? kExitUnfinished : kExitOk;
}

Json test_to_json(const core::TestSpec& test) {
  Json object = {{"name", core::to_utf8(test.name)}, {"stdin", core::content_to_json(test.stdin_content.bytes)}};
  if (test.expected) object["expected"] = core::content_to_json(test.expected->bytes);
  return object;
}

/// A program's outputs go where a program's outputs go, so that `submit --wait` can stand in a pipe.
Expected<ExitCode> print_finished(const Json& job, const Console& console) {
  const Json steps = job.contains("steps") && job["steps"].is_array() ? job["steps"] : Json::array();
  const bool has_tests = job.contains("tests") && job["tests"].is_array() && !job["tests"].empty();
  for (const Json& step : steps) {
    if (!step.is_object()) continue;
    const bool last = &step == &steps.back();
    const Stream& out = last && !has_tests ? console.out : console.err;
    for (const auto& [key, stream] : {std::pair("stdout", &out), std::pair("stderr", &console.err)})
      if (auto written = stream->write_program_output(content_bytes(step.value(key, Json()))); !written)
        return failure(kExitInternal, written.error().what);
  }
  return print(console.err, fmt::format("bailiff: {}\n", summary(job, console.err.paint())), exit_code(verdict_of(job)));
}

}  // namespace

Expected<HttpClient> client_of(const ServerOptions& options) {
  const char* key = std::getenv("BAILIFF_API_KEY");
  return HttpClient::make(options.url, key == nullptr ? "" : key);
}

Expected<Json> job_request(const SubmitOptions& options) {
  const std::array inputs = {options.file, options.stdin_file, options.archive};
  if (std::ranges::count(inputs, "-") > 1)
    return failure(kExitUsage, "only one of FILE, --stdin and --archive can be our own input", "name a file for the others");
  auto source = read_input(options.file);
  if (!source) return std::unexpected(std::move(source.error()));
  const std::string language = options.language.empty() ? extension(options.file) : options.language;
  if (language.empty())
    return failure(kExitUsage, fmt::format("{}: the name does not tell the language", options.file),
                   "add --language NAME; `bailiff languages` lists them");
  Json request = {{"language", language}, {"source", core::content_to_json(*source)}};
  if (!options.image.empty()) request["image"] = options.image;
  if (!options.args.empty()) {
    for (const std::string& arg : options.args) request["args"].push_back(core::to_utf8(arg));
  }
  if (!options.archive.empty()) {
    auto archive = read_input(options.archive);
    if (!archive) return std::unexpected(std::move(archive.error()));
    request["archive"] = core::content_to_json(*archive);
  }
  if (!options.stdin_file.empty()) {
    auto input = read_input(options.stdin_file);
    if (!input) return std::unexpected(std::move(input.error()));
    request["stdin"] = core::content_to_json(*input);
  }
  if (!options.tests_directory.empty()) {
    auto tests = read_tests(options.tests_directory);
    if (!tests) return std::unexpected(std::move(tests.error()));
    for (const auto& test : *tests) request["tests"].push_back(test_to_json(test));
    if (!options.checker.empty()) request["checker"] = options.checker;
  }
  if (Json limits = core::overrides_to_json(options.limits); !limits.empty()) request["limits"] = std::move(limits);
  for (const std::string& label : options.labels) {
    auto pair = parse_pair(label, "--label");
    if (!pair) return std::unexpected(std::move(pair.error()));
    request["labels"][pair->first] = pair->second;
  }
  for (const std::string& glob : options.artifacts) request["artifacts"].push_back(core::to_utf8(glob));
  if (options.priority != 0) request["priority"] = options.priority;
  if (options.terminal) request["interactive"]["tty"] = true;
  else if (options.interactive) request["interactive"] = true;
  return request;
}

Expected<ExitCode> submit(const SubmitOptions& options, const Console& console) {
  if (options.interactive && (options.server.json || options.server.wait))
    return failure(kExitUsage, "--interactive goes neither with --wait nor with --json", "it ends with the job, and shows its output");
  auto request = job_request(options);
  if (!request) return std::unexpected(std::move(request.error()));
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));

  const auto deadline = Clock::now() + options.server.wait.value_or(seconds{0});
  HttpRequest post{.method = "POST", .path = "/v1/jobs", .body = request->dump(-1, ' ', false, Json::error_handler_t::replace)};
  if (!options.idempotency_key.empty()) post.headers.push_back("Idempotency-Key: " + sanitise_line(options.idempotency_key));
  if (options.server.wait) ask_to_wait(post, slice_until(deadline));
  auto job = client->json(post);
  if (!job) return std::unexpected(std::move(job.error()));
  if (id_of(*job).empty()) return failure(kExitInternal, "the server's answer has no job id", "is it a Bailiff server?");
  if (options.interactive) {
    auto ended = attach({options.server, id_of(*job), options.terminal}, console);
    if (ended || ended.error().code != kExitRefused) return ended;
    job = client->json({.path = "/v1/jobs/" + percent_encode(id_of(*job))});
    return job && is_finished(*job) ? print_finished(*job, console) : ended;  // it was over before anybody could be attached to it
  }
  if (options.server.wait) job = wait_for(*client, std::move(*job), deadline);
  if (!job) return std::unexpected(std::move(job.error()));

  const ExitCode code = code_of(*job, options.server.wait.has_value());
  if (options.server.json) return print(console.out, dump(*job), code);
  if (is_finished(*job)) return print_finished(*job, console);
  const std::string id = sanitise_line(id_of(*job));
  auto shown = print(console.out, id + "\n", code);
  if (!shown) return shown;
  return print(console.err, fmt::format("bailiff: {}; `bailiff job {} --wait` follows it\n", sanitise_line(job->value("state", "")), id),
               code);
}

Expected<ExitCode> show_job(const ServerOptions& options, const std::string& id, const Console& console) {
  auto client = client_of(options);
  if (!client) return std::unexpected(std::move(client.error()));
  const auto deadline = Clock::now() + options.wait.value_or(seconds{0});
  HttpRequest request{.path = "/v1/jobs/" + percent_encode(id)};
  if (options.wait) ask_to_wait(request, slice_until(deadline));
  auto job = client->json(request);
  if (job && options.wait) job = wait_for(*client, std::move(*job), deadline);
  if (!job) return std::unexpected(std::move(job.error()));
  return print(console.out, options.json ? dump(*job) : render_job(*job, console.out.paint()), code_of(*job, options.wait.has_value()));
}

Expected<ExitCode> list_jobs(const JobsOptions& options, const Console& console) {
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  std::string filter;
  if (!options.state.empty()) filter += "&state=" + percent_encode(options.state);
  if (!options.verdict.empty()) filter += "&verdict=" + percent_encode(options.verdict);
  for (const std::string& label : options.labels) {
    auto pair = parse_pair(label, "--label");
    if (!pair) return std::unexpected(std::move(pair.error()));
    filter += "&label=" + percent_encode(pair->first + ":" + pair->second);
  }
  std::vector<Json> jobs;
  std::string cursor;
  do {
    const std::size_t count = std::min(kPageSize, options.count - jobs.size());
    auto page = client->json({.path = fmt::format("/v1/jobs?limit={}{}{}", count, filter, cursor)});
    if (!page) return std::unexpected(std::move(page.error()));
    if (!page->contains("items") || !(*page)["items"].is_array()) return failure(kExitInternal, "the server's answer has no items");
    if ((*page)["items"].empty()) break;
    for (Json& job : (*page)["items"]) jobs.push_back(std::move(job));
    const Json next = page->value("next_cursor", Json());
    cursor = next.is_string() ? "&cursor=" + percent_encode(next.get<std::string>()) : "";
  } while (!cursor.empty() && jobs.size() < options.count);
  return print(console.out, options.server.json ? dump(Json{{"items", jobs}}) : render_jobs(jobs, console.out.paint()), kExitOk);
}

Expected<ExitCode> act_on_job(const ServerOptions& options, const std::string& action, const std::string& id, const Console& console) {
  auto client = client_of(options);
  if (!client) return std::unexpected(std::move(client.error()));
  auto job = client->json({.method = "POST", .path = fmt::format("/v1/jobs/{}:{}", percent_encode(id), action)});
  if (job && options.wait) job = wait_for(*client, Json{{"id", id}}, Clock::now() + *options.wait);
  if (!job) return std::unexpected(std::move(job.error()));
  if (options.json) return print(console.out, dump(*job), kExitOk);
  return print(console.out, fmt::format("{}\n", summary(*job, console.out.paint())), kExitOk);
}

Expected<ExitCode> inspect_job(const ServerOptions& options, const std::string& id, const Console& console) {
  auto client = client_of(options);
  if (!client) return std::unexpected(std::move(client.error()));
  auto sandbox = client->json({.path = fmt::format("/v1/jobs/{}/namespaces", percent_encode(id))});
  if (!sandbox) return std::unexpected(std::move(sandbox.error()));
  return print(console.out, options.json ? dump(*sandbox) : render_sandbox(*sandbox, console.out.paint()), kExitOk);
}

Expected<ExitCode> list_languages(const ServerOptions& options, const Console& console) {
  auto client = client_of(options);
  if (!client) return std::unexpected(std::move(client.error()));
  auto page = client->json({.path = "/v1/languages"});
  if (!page) return std::unexpected(std::move(page.error()));
  if (!page->is_object() || !page->contains("items") || !(*page)["items"].is_array())
    return failure(kExitInternal, "the server's answer has no items");
  return print(console.out, options.json ? dump(*page) : render_languages((*page)["items"], console.out.paint()), kExitOk);
}

}  // namespace bailiff::cli
