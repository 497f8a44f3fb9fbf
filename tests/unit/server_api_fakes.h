#pragma once
// What the API stands on, in memory: a catalogue of two languages, a store without a database, jobs that end when the test says so.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "images/catalogue.h"
#include "server/api_job.h"
#include "server/api_request.h"
#include "server/job_watch.h"
#include "server/jobs.h"
#include "storage/store.h"

namespace bailiff::server::testing {

inline const images::Catalogue& test_catalogue() {
  static const images::Catalogue catalogue = [] {
    std::string directory = std::filesystem::temp_directory_path() / "bailiff-api-XXXXXX";
    EXPECT_NE(::mkdtemp(directory.data()), nullptr);
    const auto write = [&](const std::string& name, const std::string& text) { std::ofstream(directory + "/" + name) << text; };
    const std::string hello = "version_command = [\"true\"]\nhello = \"x\"\n";
    write("cpp.toml",
          "name = \"cpp\"\ntitle = \"C++\"\naliases = [\"c++\"]\nimage = \"host\"\nsource_file = \"main.cpp\"\ncompile = [\"g++\", "
          "\"main.cpp\"]\nrun = [\"./a.out\"]\n" +
              hello + "[limits]\nmemory_bytes = 268435456\n");
    write("python.toml",
          "name = \"python\"\ntitle = \"Python\"\naliases = [\"py\"]\nimage = \"host\"\nsource_file = \"main.py\"\nrun = [\"python3\", "
          "\"main.py\"]\n" +
              hello);
    auto loaded = images::Catalogue::load(directory, {{"host", "sha256:0123", "host", ""}}, [](const auto&) { return "1.0"; });
    std::filesystem::remove_all(directory);
    if (!loaded) throw std::runtime_error(loaded.error().what);
    return std::move(*loaded);
  }();
  return catalogue;
}

inline RequestRules test_rules() { return {test_catalogue(), core::default_limits(), core::ceiling_limits()}; }

/// Reads only; jobs are put in by FakeJobs. Any thread, as the real one.
class FakeStore final : public storage::Store {
 public:
  void submit(storage::NewJob, storage::Callback<storage::Submitted>) override {}
  void submit_all(std::vector<storage::NewJob>, storage::Callback<std::vector<storage::Submitted>>) override {}
  void forget(std::string, storage::Callback<void>) override {}
  void forget_old(std::string, std::int64_t, int, storage::Callback<std::size_t>) override {}
  core::Result<bool> knows_key(const std::string&, const std::string&) override { return false; }
  core::Result<storage::OwnerUse> use_of(const std::string&, std::int64_t) override { return use; }
  storage::OwnerUse use;  // of every owner
  core::Result<std::optional<std::string>> id_before_newest(std::uint64_t) override { return std::nullopt; }
  void claim(std::int64_t, storage::PickOwner, storage::Callback<std::optional<storage::ClaimedJob>>) override {}
  void finish(storage::Finish, storage::Callback<void>) override {}
  void requeue(std::string, int, storage::Callback<core::JobState>) override {}
  void cancel(std::string, std::int64_t, storage::Callback<storage::Cancelled>) override {}
  void close() override {}
  void begin_blob(storage::NewBlob blob, storage::Callback<std::int64_t> done) override {
    const std::lock_guard lock(mutex_);
    if (blob.bytes > blob.most_bytes) return done(core::error(core::ErrorKind::conflict, "full"));
    uploads_.push_back({{blob.owner, blob.digest}, ""});
    done(static_cast<std::int64_t>(uploads_.size()) - 1);
  }
  void add_blob_piece(std::int64_t upload, std::uint64_t, std::string bytes, storage::Callback<void> done) override {
    const std::lock_guard lock(mutex_);
    uploads_.at(static_cast<std::size_t>(upload)).second += bytes;
    done({});
  }
  void end_blob(std::int64_t upload, storage::Callback<void> done) override {
    const std::lock_guard lock(mutex_);
    blobs_.insert(uploads_.at(static_cast<std::size_t>(upload)));
    done({});
  }
  void drop_blob(std::int64_t, storage::Callback<void> done) override { done({}); }
  void use_blob(std::string owner, std::string digest, std::int64_t, storage::Callback<bool> done) override {
    const std::lock_guard lock(mutex_);
    done(blobs_.contains({owner, digest}));
  }
  void forget_blobs(std::int64_t, int, storage::Callback<std::size_t>) override {}
  core::Result<Slice> blob(const std::string& owner, const std::string& digest, std::uint64_t offset, std::uint64_t length) override {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find({owner, digest});
    if (found == blobs_.end()) return core::error(core::ErrorKind::not_found, "no blob");
    return Slice{found->second.substr(std::min<std::size_t>(offset, found->second.size()), length), found->second.size()};
  }
  core::Result<Slice> artifact(const std::string& id, const std::string& path, std::uint64_t offset, std::uint64_t length) override {
    const std::lock_guard lock(mutex_);
    const auto found = artifacts_.find({id, path});
    if (found == artifacts_.end()) return core::error(core::ErrorKind::not_found, "no artifact");
    return Slice{found->second.substr(std::min<std::size_t>(offset, found->second.size()), length), found->second.size()};
  }
  void add_key(storage::AccessKey, storage::Callback<void> done) override {
    done(key_fault ? std::unexpected(*key_fault) : core::Status{});
  }
  void revoke_key(std::string, std::int64_t, storage::Callback<void> done) override {
    done(key_fault ? std::unexpected(*key_fault) : core::Status{});
  }
  core::Result<std::vector<storage::AccessKey>> keys() override { return kept_keys; }
  std::vector<storage::AccessKey> kept_keys;  // before the server starts
  std::optional<core::Error> key_fault;
  core::Result<std::string> owner(const std::string& id) override {
    const auto job = get(id);
    if (!job) return std::unexpected(job.error());
    return job->owner;
  }
  core::Result<std::map<std::string, std::uint64_t>> queued_by_owner() override { return std::map<std::string, std::uint64_t>{}; }
  void record_webhook_attempt(storage::WebhookAttempt, storage::Callback<void>) override {}
  core::Result<storage::DueWebhooks> due_webhooks(const storage::DueQuery&) override { return storage::DueWebhooks{}; }
  core::Result<std::uint64_t> pending_webhooks() override { return 7; }
  core::Result<storage::StoredWebhook> webhook(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    const auto found = webhooks_.find(id);
    if (found == webhooks_.end()) return core::error(core::ErrorKind::not_found, "no row in /var/lib/secret.db");
    return found->second;
  }
  void put_webhook(const std::string& id, storage::StoredWebhook webhook) {
    const std::lock_guard lock(mutex_);
    webhooks_[id] = std::move(webhook);
  }

  core::Result<storage::StoredJob> get(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    if (fault_) return std::unexpected(*fault_);
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) return core::error(core::ErrorKind::not_found, "no row in /var/lib/secret.db");
    return found->second;
  }
  core::Result<std::vector<storage::StoredJob>> list(const storage::ListQuery& query) override {
    const std::lock_guard lock(mutex_);
    std::vector<storage::StoredJob> found;
    for (auto job = jobs_.rbegin(); job != jobs_.rend() && found.size() < static_cast<std::size_t>(query.limit); ++job) {
      const auto& [id, stored] = *job;
      const bool labelled = std::ranges::all_of(query.labels, [&](const auto& wanted) {
        const auto label = stored.labels.find(wanted.first);
        return label != stored.labels.end() && label->second == wanted.second;
      });
      if (query.before_id && id >= *query.before_id) continue;
      if (query.owner && *query.owner != stored.owner) continue;
      if (labelled && (!query.state || *query.state == stored.state) && (!query.verdict || query.verdict == stored.verdict))
        found.push_back(stored);
    }
    return found;
  }
  core::Result<Slice> output(const std::string& id, int index, storage::Stream stream, std::uint64_t offset,
                             std::uint64_t length) override {
    const std::lock_guard lock(mutex_);
    const auto found = outputs_.find({id, index, stream});
    if (found == outputs_.end()) return core::error(core::ErrorKind::not_found, "no output");
    return Slice{found->second.substr(std::min<std::size_t>(offset, found->second.size()), length), found->second.size()};
  }
  core::Result<std::optional<std::int64_t>> oldest_queued_us() override {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, job] : jobs_)
      if (job.state == core::JobState::queued) return job.created_us;
    return std::nullopt;
  }
  core::Result<storage::QueueDepth> depth() override {
    const std::lock_guard lock(mutex_);
    storage::QueueDepth depth;
    for (const auto& [id, job] : jobs_) {
      depth.queued += job.state == core::JobState::queued ? 1 : 0;
      depth.running += job.state == core::JobState::running ? 1 : 0;
    }
    return depth;
  }

  void put(storage::StoredJob job) {
    const std::lock_guard lock(mutex_);
    jobs_[job.id] = std::move(job);
  }
  void put_finish(storage::Finish finish) {
    const std::lock_guard lock(mutex_);
    auto& job = jobs_.at(finish.id);
    job.state = core::JobState::finished;
    job.verdict = finish.verdict;
    job.message = finish.message;
    job.result = finish.result;
    job.started_us = job.created_us + 1;
    job.finished_us = job.created_us + 2;
    job.attempt = 1;
    for (auto& artifact : finish.artifacts) artifacts_[{finish.id, artifact.path}] = std::move(artifact.bytes);
    for (auto& output : finish.outputs) outputs_[{finish.id, output.index, output.stream}] = std::move(output.bytes);
  }
  void fail_with(std::optional<core::Error> fault) { fault_ = std::move(fault); }
  void erase(const std::string& id) {
    const std::lock_guard lock(mutex_);
    jobs_.erase(id);
  }
  [[nodiscard]] std::size_t size() {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, storage::StoredJob> jobs_;
  std::map<std::string, storage::StoredWebhook> webhooks_;
  std::map<std::tuple<std::string, int, storage::Stream>, std::string> outputs_;
  std::vector<std::pair<std::pair<std::string, std::string>, std::string>> uploads_;
  std::map<std::pair<std::string, std::string>, std::string> blobs_, artifacts_;  // by owner and digest, by job and path
  std::optional<core::Error> fault_;
};

class FakeJobs final : public Jobs {
  boost::asio::io_context& io_;
  FakeStore& store_;

 public:
  FakeJobs(boost::asio::io_context& io, FakeStore& store) : io_(io), store_(store) {}

  boost::asio::awaitable<core::Result<storage::Submitted>> submit(storage::NewJob job) override {
    if (refusal) co_return std::unexpected(*refusal);
    if (job.idempotency_key) {
      const auto [known, fresh] = keys_.try_emplace(*job.idempotency_key, job.request_digest, next_id());
      if (!fresh && known->second.first != job.request_digest) co_return core::error(core::ErrorKind::conflict, "key used");
      if (!fresh) co_return storage::Submitted{known->second.second, true};
    } else {
      next_id();
    }
    last_request = job.request;
    storage::StoredJob stored;
    stored.id = id_;
    stored.created_us = 1'767'225'600'000'000 + count_;
    stored.priority = job.priority;
    stored.owner = job.owner;
    stored.labels = job.labels;
    stored.request = job.request;
    store_.put(stored);
    if (job.webhook) {
      storage::StoredWebhook webhook;
      webhook.webhook = *job.webhook;
      store_.put_webhook(id_, std::move(webhook));
    }
    co_return storage::Submitted{id_, false};
  }
  boost::asio::awaitable<core::Result<std::vector<storage::Submitted>>> submit_all(std::vector<storage::NewJob> jobs) override {
    ++transactions;
    std::vector<storage::Submitted> submitted;
    for (auto& job : jobs) {
      if (submitted.size() >= queue_room) break;
      auto one = co_await submit(std::move(job));
      if (!one) co_return std::unexpected(one.error());
      submitted.push_back(*one);
    }
    co_return submitted;
  }
  Quota exhausted(const std::string&, std::uint64_t) const override { return quota; }
  std::unique_ptr<JobWatch> watch(const std::vector<std::string>& ids, News news) override { return watches.watch(ids, news); }
  std::optional<Progress> progress(const std::string& id) const override {
    const auto found = running.find(id);
    return found == running.end() ? std::nullopt : std::optional(found->second);
  }
  void tell_output(const std::string&) override { ++output_questions; }
  boost::asio::awaitable<core::Status> forget(std::string id) override {
    const auto job = store_.get(id);
    if (!job) co_return std::unexpected(job.error());
    if (job->state != core::JobState::finished) co_return core::error(core::ErrorKind::conflict, "not finished");
    store_.erase(id);
    watches.tell(id, true);
    co_return core::Status{};
  }
  boost::asio::awaitable<bool> wait_finished(std::string id, std::chrono::milliseconds at_most) override {
    struct Waiting {
      int& count;
      explicit Waiting(int& waiters) : count(waiters) { ++count; }
      ~Waiting() { --count; }
    } waiting(waiters);
    if (finish_at_once) end(id, core::Verdict::ok, "hello\n");
    const auto deadline = std::chrono::steady_clock::now() + at_most;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto job = store_.get(id);
      if (!job) co_return false;
      if (job->state == core::JobState::finished) co_return true;
      boost::asio::steady_timer timer(io_, deadline);
      timers_.insert(&timer);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      timers_.erase(&timer);
    }
    co_return false;
  }
  boost::asio::awaitable<core::Result<core::JobState>> cancel(std::string id) override {
    auto job = store_.get(id);
    if (!job) co_return std::unexpected(job.error());
    if (job->state == core::JobState::queued) end(id, core::Verdict::cancelled, "");
    co_return store_.get(id)->state;
  }
  core::Status set_paused(const std::string& id, bool paused) override {
    const auto job = store_.get(id);
    if (!job) return std::unexpected(job.error());
    if (job->state != core::JobState::running) return core::error(core::ErrorKind::conflict, "not running");
    if (paused) paused_.insert(id);
    else paused_.erase(id);
    return {};
  }
  std::set<std::string> paused() const override { return paused_; }
  std::optional<storage::Store::Slice> live_output(const std::string&, int step, storage::Stream stream, std::uint64_t offset,
                                                   std::uint64_t length) override {
    if (!live || step != 0 || stream != storage::Stream::stdout_stream) return std::nullopt;
    return storage::Store::Slice{live->substr(std::min<std::size_t>(offset, live->size()), length), live->size()};
  }
  boost::asio::awaitable<core::Result<RunningSandbox>> inspect(std::string id) override {
    if (const auto job = store_.get(id); !job) co_return std::unexpected(job.error());
    if (!running_sandbox) co_return core::error(core::ErrorKind::conflict, "nothing runs in /var/lib/secret");
    co_return *running_sandbox;
  }
  boost::asio::awaitable<core::Result<sandbox::ExecSession>> exec(std::string, sandbox::ExecRequest request) override {
    exec_request = std::move(request);
    if (!command) co_return std::unexpected(exec_refusal);
    co_return std::move(*std::exchange(command, std::nullopt));
  }
  core::Result<core::Fd> input_of(const std::string&) override {
    if (!input.valid()) return core::error(core::ErrorKind::not_found, "nothing reads");
    return input.duplicate();
  }
  void close_input(const std::string&) override { input.reset(); }
  std::vector<SlotInfo> slots() const override { return {{0, true, ""}, {1, true, id_}, {2, false, ""}}; }
  bool ready() const override { return is_ready; }

  void end(const std::string& id, core::Verdict verdict, std::string text) {
    core::JobResult result;
    result.verdict = verdict;
    core::StepResult step;
    step.name = "run";
    step.outcome.verdict = verdict;
    step.stdout_bytes = std::move(text);
    result.steps.push_back(std::move(step));
    end_with(id, std::move(result));
  }
  void end_with(const std::string& id, core::JobResult result) {
    storage::Finish finish;
    finish.id = id;
    put_result(finish, std::move(result));
    store_.put_finish(std::move(finish));
    for (auto* timer : timers_) timer->cancel();
    running.erase(id);
    watches.tell(id, true);
  }

  JobWatches watches{io_.get_executor()};
  std::map<std::string, Progress> running;
  Quota quota = Quota::none;  // of one key
  std::size_t queue_room = 1000;            // for a batch
  int transactions = 0, output_questions = 0;
  bool is_ready = true, finish_at_once = false;
  int waiters = 0;  // inside wait_finished
  std::optional<core::Error> refusal;
  std::optional<std::string> live;
  std::string last_request;
  std::optional<RunningSandbox> running_sandbox;
  std::optional<sandbox::ExecSession> command;  // of the next exec
  core::Error exec_refusal;
  core::Fd input;  // of the interactive step that runs
  sandbox::ExecRequest exec_request;

 private:
  std::string next_id() {
    const std::string number = std::to_string(++count_);
    id_ = std::string(26 - number.size(), '0') + number;
    return id_;
  }
  std::set<boost::asio::steady_timer*> timers_;
  std::set<std::string> paused_;
  std::map<std::string, std::pair<std::string, std::string>> keys_;
  std::string id_;
  int count_ = 0;
};

}  // namespace bailiff::server::testing
