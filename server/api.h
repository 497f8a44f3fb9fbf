#pragma once
// The HTTP API (api.md): its routes, and what holds for all of them: methods, media types, entity tags, problems.
#include <sys/ioctl.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/json/json.h"
#include "core/result.h"
#include "server/api_context.h"
#include "server/api_problem.h"
#include "server/api_submission.h"
#include "server/http_bounds.h"
#include "server/http_message.h"
#include "server/http_router.h"

namespace bailiff::server {

[[nodiscard]] Response problem_response(const Problem& problem);
[[nodiscard]] Response problem_response(unsigned status, std::string detail, Headers headers = {});
[[nodiscard]] Response json_response(unsigned status, const core::Json& document);
/// 200 with a JSON text that is made already.
[[nodiscard]] Response text_response(std::string json_text);

/// On the io thread. Must outlive every handle() that it began.
class Api {
 public:
  Api(ApiContext context, const HttpBounds& bounds);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;
  /// Waits for the work that was begun aside; none may be begun afterwards.
  void finish_aside() { aside_.join(); }
  ~Api() { finish_aside(); }

  /// What can be refused by the head alone (`request.body` is not looked at), so that no body is read in vain: an unknown path, another
  /// method, a caller who may not, a media type. OPTIONS is answered here too.
  [[nodiscard]] std::optional<Response> answer_head(const Request& request) const;
  /// A file to receive the body in, and the most bytes of it, where the request is for a route that takes one (Request::body_file).
  struct BodyFile {
    std::shared_ptr<core::Fd> file;
    std::uint64_t most_bytes = 0;
  };
  [[nodiscard]] std::optional<core::Result<BodyFile>> body_file(const Request& request) const;
  /// Writes a piece of it, in a thread aside.
  boost::asio::awaitable<core::Status> write_body(const core::Fd& file, std::string_view bytes, std::uint64_t offset);
  /// The answer. Never throws: what goes wrong on our side is logged and is a 500.
  boost::asio::awaitable<Response> handle(const Request& request, Client& client);
  [[nodiscard]] const Router& router() const { return router_; }

 private:
  void add_job_routes();     // api_jobs.cpp
  void add_output_routes();  // api_outputs.cpp
  void add_running_routes();  // api_exec.cpp
  void add_about_routes();   // api_about.cpp
  void add_image_routes();   // api_images.cpp
  void add_stored_request_routes();  // api_stored_request.cpp
  void add_batch_routes();           // api_batch.cpp
  void add_event_routes();           // api_events.cpp
  void add_key_routes();             // api_keys.cpp
  void add_webhook_routes();         // api_webhook.cpp
  void add_blob_routes();            // api_blobs.cpp
  void add_artifact_routes();        // api_artifacts.cpp

  struct Admitted {
    Target target;
    Match match;
    Caller caller;
  };
  /// The route of a request that may use it.
  [[nodiscard]] std::expected<Admitted, Response> admit(const Request& request) const;
  /// Of a call about one job: why it is none for this caller.
  [[nodiscard]] std::optional<Problem> fault_of_owner(const Admitted& admitted) const;

  boost::asio::awaitable<Response> create_job(Call call);
  boost::asio::awaitable<Response> show_job(Call call);
  boost::asio::awaitable<Response> list_jobs(Call call);
  boost::asio::awaitable<Response> cancel_job(Call call);
  boost::asio::awaitable<Response> pause_job(Call call, bool pause);
  boost::asio::awaitable<Response> delete_job(Call call);
  boost::asio::awaitable<Response> job_answer(std::string id, unsigned status_unfinished, std::optional<std::chrono::seconds> wait);
  boost::asio::awaitable<void> wait_for_end(std::string id, std::optional<std::chrono::seconds> wait, Client& client);
  boost::asio::awaitable<std::optional<Problem>> look_into_archive(const AcceptedJob& job);
  [[nodiscard]] std::optional<std::chrono::seconds> wait_of(const Request& request) const;
  Response refused_submit(const core::Error& error, const std::string& owner);

  boost::asio::awaitable<Response> show_output(Call call, int first_index, storage::Stream stream);
  boost::asio::awaitable<Response> show_usage(Call call);
  core::Result<storage::Store::Slice> read_output(const std::string& id, int index, storage::Stream stream, std::uint64_t offset,
                                                  std::uint64_t length);

  boost::asio::awaitable<Response> show_namespaces(Call call);
  boost::asio::awaitable<Response> exec_beside(Call call);
  boost::asio::awaitable<void> serve_exec(std::string id, sandbox::ExecRequest request, WebSocket& socket);

  boost::asio::awaitable<Response> attach(Call call);
  boost::asio::awaitable<void> serve_attach(std::string id, bool terminal, std::optional<winsize> size, WebSocket& socket);

  boost::asio::awaitable<Response> show_request(Call call);
  boost::asio::awaitable<Response> show_webhook(Call call);

  struct Batch;
  boost::asio::awaitable<Response> create_batch(Call call);
  boost::asio::awaitable<std::optional<Problem>> submit_batch(Batch& batch, const std::optional<std::string>& key,
                                                              const std::string& digest, const std::string& owner);
  boost::asio::awaitable<void> wait_for_batch(std::shared_ptr<const Batch> batch, std::optional<std::chrono::seconds> wait, Client& client);
  boost::asio::awaitable<bool> stream_batch(std::shared_ptr<const Batch> batch, std::chrono::seconds wait, Client& client, BodySink& sink);
  boost::asio::awaitable<bool> send_batch_line(const Batch& batch, std::size_t index, BodySink& sink);
  boost::asio::awaitable<Response> show_events(Call call);

  boost::asio::awaitable<Response> show_languages(Call call);
  boost::asio::awaitable<Response> show_images(Call call);
  boost::asio::awaitable<Response> import_image(Call call);
  boost::asio::awaitable<Response> delete_image(Call call);
  [[nodiscard]] std::optional<Response> fault_of_upload(const Request& request, const Target& target) const;
  boost::asio::awaitable<Response> create_blob(Call call);
  boost::asio::awaitable<core::Status> store_blob(std::string owner, std::string digest, const core::Fd& file, std::uint64_t size);
  boost::asio::awaitable<Response> show_blob(Call call);
  [[nodiscard]] std::optional<Response> fault_of_blob_upload(const Target& target) const;

  boost::asio::awaitable<Response> list_artifacts(Call call);
  boost::asio::awaitable<Response> show_artifact(Call call);
  boost::asio::awaitable<bool> send_tar(std::string id, core::Json artifacts, std::int64_t mtime_s, BodySink& sink);

  boost::asio::awaitable<Response> create_key(Call call);
  [[nodiscard]] core::Json key_document(const storage::AccessKey& key) const;
  boost::asio::awaitable<Response> show_keys(Call call);
  boost::asio::awaitable<Response> show_own_key(Call call);
  boost::asio::awaitable<Response> revoke_key(Call call);
  boost::asio::awaitable<Response> show_system(Call call);
  Response show_metrics();

  /// `work` in the thread aside where it is large, else at once. The loop also schedules jobs, so nothing may hold it for long.
  template <class Work>
  boost::asio::awaitable<std::invoke_result_t<Work>> run_aside(bool large, Work work) {
    using Value = std::invoke_result_t<Work>;
    if (!large) co_return work();
    auto coroutine = [job = std::move(work)]() mutable -> boost::asio::awaitable<Value> { co_return job(); };
    co_return co_await boost::asio::co_spawn(aside_, std::move(coroutine), boost::asio::use_awaitable);
  }

  ApiContext context_;
  const HttpBounds bounds_;
  Router router_;
  std::set<std::string> attached_;  // jobs with a client that is attached to them
  boost::asio::thread_pool aside_{1}, files_{1}, archives_{2};
};

/// The audit line of an administrative act.
void log_act(const Caller& caller, const char* act, const std::string& what);

/// What a client may know of an Error: its kind. The rest is logged as "<doing>: <what>".
[[nodiscard]] Problem problem_of(const core::Error& error, std::string_view doing);
/// As problem_of, of a call about one job: not_found is that job.
[[nodiscard]] Problem problem_of_job(const core::Error& error, std::string_view doing);
[[nodiscard]] Problem no_such_job();

}  // namespace bailiff::server
