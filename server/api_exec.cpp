// Routes into a running job: its sandbox as the kernel shows it, a command beside it, its own standard streams.
#include <boost/asio/this_coro.hpp>
#include <charconv>

#include "core/id.h"
#include "server/api.h"
#include "server/api_job.h"
#include "server/attach_relay.h"
#include "server/log.h"
#include "server/step_plan.h"
#include "server/stream_relay.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

constexpr unsigned kMostTerminalCells = 9999;

Json inode_or_null(std::uint64_t inode) { return inode == 0 ? Json(nullptr) : Json(inode); }

/// "cpu,cpuacct" → ["cpu", "cpuacct"]
Json controllers(std::string_view hierarchy) {
  Json names = Json::array();
  while (!hierarchy.empty()) {
    const auto name = hierarchy.substr(0, hierarchy.find(','));
    names.push_back(core::to_utf8(name));
    hierarchy.remove_prefix(std::min(hierarchy.size(), name.size() + 1));
  }
  return names;
}

Json to_json(const RunningSandbox& running) {
  const auto& [part, slot, seen] = running;
  Json object = {{part.is_test ? "test" : "step", {{"index", part.index}, {"name", core::to_utf8(part.name)}}},
                 {"slot", slot},
                 {"namespaces", Json::array()},
                 {"cgroups", Json::array()},
                 {"memory_bytes", seen.memory_bytes},
                 {"processes_now", seen.processes_now},
                 {"processes", Json::array()},
                 {"processes_truncated", seen.truncated}};
  for (const auto& one : seen.namespaces)
    object["namespaces"].push_back({{"type", one.type},
                                    {"inode", one.inode},
                                    {"owner_uid", one.owner_uid},
                                    {"owner", inode_or_null(one.owner_inode)},
                                    {"parent", inode_or_null(one.parent_inode)}});
  for (const auto& group : seen.groups)
    object["cgroups"].push_back({{"controllers", controllers(group.hierarchy)}, {"path", core::to_utf8(group.path)}});
  for (const auto& process : seen.processes)
    object["processes"].push_back({{"pid", process.pid}, {"host_pid", process.host_pid}, {"name", core::to_utf8(process.name)}});
  return object;
}

/// What of an error about a running job the client may know.
Problem problem_of_running(const core::Error& error, std::string_view doing) {
  if (error.kind == core::ErrorKind::conflict) return {409, "nothing of the job runs now, or it is paused", {}, {}};
  if (error.kind == core::ErrorKind::invalid) return {422, core::to_utf8(error.what), {}, {}};
  if (error.kind == core::ErrorKind::unavailable)
    return {503,
            "the sandbox takes no more now: too many commands, or the program has used up its processes, memory or terminals",
            {},
            {{"Retry-After", "1"}}};
  return problem_of_job(error, doing);
}

std::optional<std::uint16_t> terminal_side(std::string_view text) {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 1 || number > kMostTerminalCells) return std::nullopt;
  return number;
}

/// The parameters `rows` and `cols` into `rows` and `columns`. False: it is another one.
bool read_size(const std::string& name, const std::string& value, std::uint16_t& rows, std::uint16_t& columns, Problem& problem) {
  if (name != "rows" && name != "cols") return false;
  const auto side = terminal_side(value);
  if (side) (name == "rows" ? rows : columns) = *side;
  else problem.errors.push_back({name, "must be from 1 to 9999"});
  return true;
}

/// The size of a client's terminal; none where it names no side.
std::expected<std::optional<winsize>, Problem> attach_size(const std::vector<std::pair<std::string, std::string>>& parameters) {
  winsize size{24, 80, 0, 0};
  Problem problem{400, "the query has faults; each is listed with its parameter", {}, {}};
  for (const auto& [name, value] : parameters)
    if (!read_size(name, value, size.ws_row, size.ws_col, problem)) problem.errors.push_back({name, "unknown parameter"});
  if (!problem.errors.empty()) return std::unexpected(std::move(problem));
  return parameters.empty() ? std::nullopt : std::optional(size);
}

std::expected<sandbox::ExecRequest, Problem> exec_request(const std::vector<std::pair<std::string, std::string>>& parameters) {
  sandbox::ExecRequest request;
  core::Environment env;
  Problem problem{400, "the query has faults; each is listed with its parameter", {}, {}};
  const auto fault = [&](const std::string& name, std::string detail) { problem.errors.push_back({name, std::move(detail)}); };
  for (const auto& [name, value] : parameters) {
    if (name == "command") {
      request.argv.push_back(value);
    } else if (name == "tty") {
      request.terminal = value == "true";
      if (value != "true" && value != "false") fault(name, "must be true or false");
    } else if (name == "env") {
      const auto equals = value.find('=');
      if (equals == std::string::npos || equals == 0) fault(name, "must be NAME=value");
      else env[value.substr(0, equals)] = value.substr(equals + 1);
    } else if (!read_size(name, value, request.rows, request.columns, problem)) {
      fault(name, "unknown parameter");
    }
  }
  if (request.argv.empty() || request.argv.front().empty()) fault("command", "is missing: once for each word of the command");
  env.try_emplace("TERM", request.terminal ? "xterm" : "dumb");
  request.env = environment_of({&env});
  if (problem.errors.empty()) return request;
  return std::unexpected(std::move(problem));
}

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
void log_exec(const std::string& id, const sandbox::ExecRequest& request) {
  log_info("command beside a job", {{"job", id}, {"command", request.argv.front()}, {"terminal", request.terminal}});
}

}  // namespace

void Api::add_running_routes() {
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/namespaces", .scope = Scope::read, .handler = [this](Call call) {
                 return show_namespaces(std::move(call));
               }});
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/exec", .scope = Scope::admin, .handler = [this](Call call) {
                 return exec_beside(std::move(call));
               }});
  router_.add({.method = "GET", .pattern = "/v1/jobs/{id}/attach", .scope = Scope::submit, .handler = [this](Call call) {
                 return attach(std::move(call));
               }});
}

awaitable<Response> Api::show_namespaces(Call call) {
  const auto& id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const auto running = co_await context_.jobs.inspect(id);
  if (!running) co_return problem_response(problem_of_running(running.error(), "inspect a job"));
  Json document = to_json(*running);
  document["job"] = id;
  co_return json_response(200, document);
}

awaitable<Response> Api::exec_beside(Call call) {
  const auto id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  auto request = exec_request(call.query);
  if (!request) co_return problem_response(request.error());
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  if (job->state != core::JobState::running) co_return problem_response(409, "the job is not running");
  Response response;
  response.upgrade = [this, id, request = std::move(*request)](WebSocket& socket) { return serve_exec(id, request, socket); };
  co_return response;
}

awaitable<void> Api::serve_exec(std::string id, sandbox::ExecRequest request, WebSocket& socket) {
  log_exec(id, request);
  auto session = co_await context_.jobs.exec(id, std::move(request));
  if (!session) {
    const auto problem = problem_of_running(session.error(), "execute beside a job");
    co_return co_await refuse_stream(socket, problem.detail);
  }
  StreamRelay relay(co_await boost::asio::this_coro::executor, socket, std::move(*session), bounds_.websocket_drain_time);
  co_await relay.run();
}

awaitable<Response> Api::attach(Call call) {
  const auto id = call.path_values[0];
  if (!core::is_job_id(id)) co_return problem_response(no_such_job());
  const auto size = attach_size(call.query);
  if (!size) co_return problem_response(size.error());
  const auto job = context_.store.get(id);
  if (!job) co_return problem_response(problem_of_job(job.error(), "read a job"));
  const auto kind = interactive_of(*job);
  if (kind == core::Interactive::no)
    co_return problem_response(409, R"(the job is not interactive: it was made without "interactive": true)");
  if (job->state == core::JobState::finished) co_return problem_response(409, "the job is finished");
  if (attached_.contains(id)) co_return problem_response(409, "somebody is attached to the job already");
  const bool terminal = kind == core::Interactive::terminal;
  Response response;
  response.upgrade = [this, id, terminal, size = *size](WebSocket& socket) { return serve_attach(id, terminal, size, socket); };
  co_return response;
}

awaitable<void> Api::serve_attach(std::string id, bool terminal, std::optional<winsize> size, WebSocket& socket) {
  if (!attached_.insert(id).second) co_return co_await refuse_stream(socket, "somebody is attached to the job already");
  struct Attached {
    std::set<std::string>& ids;
    const std::string& id;
    ~Attached() { ids.erase(id); }
  };
  const Attached attached{attached_, id};
  AttachRelay relay(co_await boost::asio::this_coro::executor, socket, context_.jobs, context_.store, bounds_, id, terminal, size);
  co_await relay.run();
}

}  // namespace bailiff::server
