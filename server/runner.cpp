#include "server/runner.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>

#include "core/json/json.h"
#include "judge/judge.h"
#include "sandbox/tree.h"
#include "server/async_result.h"
#include "server/log.h"
#include "server/wake_up.h"

// g++ 12, below -O3, takes Asio's recycling allocator of coroutine frames for a mismatched pair of new and delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace bailiff::server {

namespace asio = boost::asio;
using core::Verdict;

namespace {

constexpr std::size_t kMostArtifacts = 1000;
constexpr std::size_t kCompareHereBytes = 256 * 1024;  // what is compared on the io thread; takes well under a millisecond

core::Result<core::Fd> duplicate(const core::Fd& fd) {
  auto copy = fd.duplicate();
  if (!copy.valid()) return core::errno_error("duplicate a descriptor");
  return copy;
}

/// Scripts and binaries may be run as they are; anything else is data.
std::uint32_t mode_of(std::string_view bytes) {
  return bytes.starts_with("#!") || bytes.starts_with("\x7f"
                                                      "ELF")
             ? 0755
             : 0644;
}

/// The archive, where there is one, and the files over it.
core::Result<core::Fd> tree_of(const JobPlan& plan, const core::Limits& limits, const Unpack& unpack) {
  sandbox::TreeWriter writer;
  if (!plan.archive.empty()) {
    if (!unpack) return core::error(core::ErrorKind::invalid, "archives are not unpacked here");
    const auto archive = unpack(plan.archive, archive_bounds(limits));
    if (!archive) return std::unexpected(archive.error());
    std::set<std::string, std::less<>> placed;
    for (const auto& file : plan.files) placed.emplace(file.path);
    if (auto added = add_archive(writer, *archive, placed); !added) return std::unexpected(added.error());
  }
  for (const auto& file : plan.files)
    if (auto done = writer.add_file(file.path, file.bytes, mode_of(file.bytes)); !done) return std::unexpected(done.error());
  return writer.finish();
}

std::chrono::microseconds since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began);
}

core::Outcome cancelled_outcome() {
  core::Outcome outcome;
  outcome.verdict = Verdict::cancelled;
  return outcome;
}

core::JobResult refused(std::string message) {
  core::JobResult result;
  result.verdict = Verdict::internal_error;
  result.message = std::move(message);
  return result;
}

/// Cuts to what is kept of a test's stream; true where something was cut.
bool cut(std::string& bytes) {
  if (bytes.size() <= kKeptTestOutputBytes) return false;
  bytes.resize(kKeptTestOutputBytes);
  bytes.shrink_to_fit();
  return true;
}

/// The files of a collected tree. Links and directories are not kept, nor is what has a name that no JSON text can hold.
core::Status take_artifacts(const core::Fd& tree, core::JobResult& result) {
  const auto reader = sandbox::TreeReader::open(tree.get());
  if (!reader) return std::unexpected(reader.error());
  for (const auto& entry : reader->entries()) {
    if (entry.kind == sandbox::EntryKind::directory) continue;
    if (entry.kind != sandbox::EntryKind::file || !core::is_utf8(entry.path) || result.artifacts.size() >= kMostArtifacts) {
      result.artifacts_truncated = true;
      continue;
    }
    result.artifacts.push_back({std::string(entry.path), std::string(entry.data)});
  }
  std::ranges::sort(result.artifacts, {}, &core::Artifact::path);
  return {};
}

void judge_steps(const JobPlan& plan, const std::vector<const PlannedStep*>& ran, core::JobResult& result) {
  result.verdict = judge::verdict_of_steps(result.steps, plan.compile_step);
  for (std::size_t i = 0; i < result.steps.size(); ++i) {
    const auto& step = result.steps[i];
    if (step.outcome.verdict == Verdict::ok) continue;
    result.message = fmt::format("step \"{}\": {}", step.name, describe(step.outcome, ran[i]->limits));
    return;
  }
}

void judge_tests(const JobPlan& plan, core::JobResult& result) {
  result.verdict = judge::verdict_of_tests(result.tests);
  result.score = judge::score_of_tests(result.tests);
  for (std::size_t i = 0; i < result.tests.size(); ++i) {
    const auto& test = result.tests[i];
    if (test.outcome.verdict == Verdict::accepted) continue;
    const auto& why = test.checker_message;
    result.message = fmt::format("test \"{}\" ({} of {}): {}{}{}", test.name, i + 1, plan.tests.size(),
                                 describe(test.outcome, plan.tests[i].limits), why.empty() ? "" : ": ", why);
    return;
  }
}

}  // namespace

/// What a step finds and leaves in its workspace.
struct Runner::Staging {
  const std::string& image;
  const core::Fd* tree = nullptr;  // unpacked first
  bool keep_previous = false, keep = false;
  std::vector<std::string> collect;  // globs of what is taken out of it
  std::uint64_t collect_bytes = 0;
  bool show_output = false;        // list it in ActiveJob::step_outputs
  RunningPart part{};
};

struct Runner::RanStep {
  core::Outcome outcome;
  core::Fd stdout_fd, stderr_fd, collected;
  bool collect_truncated = false;
};

asio::awaitable<core::Result<Runner::RanStep>> Runner::run_step(ActiveJob& job, SlotLease& lease, const PlannedStep& step,
                                                                const Staging& staging) {
  while (job.paused && !job.stopping()) co_await job.resumed.wait();
  auto out = sandbox::output_memfd();
  auto err = sandbox::output_memfd();
  if (!out || !err) co_return std::unexpected(!out ? out.error() : err.error());
  if (staging.show_output) {
    auto shown_out = duplicate(*out), shown_err = duplicate(*err);
    if (!shown_out || !shown_err) co_return std::unexpected(!shown_out ? shown_out.error() : shown_err.error());
    job.step_outputs.push_back({std::move(*shown_out), std::move(*shown_err), step.name, {}, step.interactive != core::Interactive::no});
    job.tell_progress();
  }
  if (job.stopping()) co_return RanStep{cancelled_outcome(), std::move(*out), std::move(*err), {}, false};

  sandbox::StepRequest request;
  request.image = staging.image;
  request.argv = step.command;
  request.env = step.env;
  request.cwd = step.cwd;
  request.limits = step.limits;
  request.keep_previous_workspace = staging.keep_previous;
  request.keep_workspace = staging.keep;
  request.collect = staging.collect;
  request.collect_bytes = staging.collect_bytes;
  request.stdout_fd = std::move(*out);
  request.stderr_fd = std::move(*err);
  std::function<void(core::Fd)> on_input;
  if (step.interactive != core::Interactive::no) {
    const bool terminal = step.interactive == core::Interactive::terminal;
    request.input = terminal ? sandbox::StepInput::terminal : sandbox::StepInput::pipe;
    on_input = [&job](core::Fd input) {
      job.input = std::move(input);
      job.tell_progress();
    };
  } else if (!step.stdin_bytes.empty()) {
    auto input = sandbox::sealed_memfd(step.stdin_bytes);
    if (!input) co_return std::unexpected(input.error());
    request.stdin_fd = std::move(*input);
  }
  if (staging.tree != nullptr) {
    auto tree = duplicate(*staging.tree);
    if (!tree) co_return std::unexpected(tree.error());
    request.trees.push_back(std::move(*tree));
  }
  job.running.emplace(&lease, staging.part);
  const auto began = std::chrono::steady_clock::now();
  auto report = co_await lease.run(request, std::move(on_input));
  job.input.reset();
  job.running.erase(&lease);
  if (!report) co_return std::unexpected(report.error());
  job.cpu_us += report->outcome.usage.cpu_us;
  metrics_.step_ran(since(began) - std::chrono::microseconds(report->outcome.usage.wall_us));
  co_return RanStep{std::move(report->outcome), std::move(request.stdout_fd), std::move(request.stderr_fd), std::move(report->collected),
                    report->collect_truncated};
}

/// The job's steps, one after the other in `lease`. Gives the tree that the tests start from, where there are tests.
asio::awaitable<core::Result<core::Fd>> Runner::run_steps(ActiveJob& job, const core::JobSpec& spec, const JobPlan& plan,
                                                          const core::Fd& files, SlotLease& lease, core::JobResult& result) {
  bool failed = false, first = true;
  core::Fd snapshot, kept;
  std::vector<const PlannedStep*> ran_steps;
  for (std::size_t i = 0; i < plan.steps.size() && !job.stopping(); ++i) {
    const PlannedStep& step = plan.steps[i];
    if (failed && !step.always) continue;
    Staging staging{plan.image, nullptr, !first, i + 1 < plan.steps.size(), {}, 0, true, {false, i, step.name}};
    if (first && (!plan.files.empty() || !plan.archive.empty())) staging.tree = &files;
    if (!plan.tests.empty()) {
      staging.collect = {"**"};
      staging.collect_bytes = step.limits.workspace_bytes;
    } else if (!spec.artifacts.empty()) {
      // After each of them: which one is the last is known when it has ended.
      staging.collect = spec.artifacts;
      staging.collect_bytes = levels_.artifact_bytes;
    }
    first = false;
    auto ran = co_await run_step(job, lease, step, staging);
    if (!ran) co_return std::unexpected(ran.error());
    if (!spec.artifacts.empty() && ran->collected.valid()) {
      kept = std::move(ran->collected);
      result.artifacts_truncated = ran->collect_truncated;
    }
    if (!plan.tests.empty() && ran->outcome.verdict == Verdict::ok) {
      snapshot = std::move(ran->collected);
      if (ran->collect_truncated || !snapshot.valid()) {
        ran->outcome.verdict = Verdict::output_limit_exceeded;
        ran->outcome.message = "what it left in its directory cannot be taken to the tests: too large or not readable";
      }
    }
    auto out = sandbox::read_all(ran->stdout_fd.get());
    auto err = sandbox::read_all(ran->stderr_fd.get());
    if (!out || !err) co_return std::unexpected(!out ? out.error() : err.error());
    failed = failed || ran->outcome.verdict != Verdict::ok;
    job.step_outputs.back().outcome = ran->outcome;
    job.tell_progress();
    result.steps.push_back({step.name, std::move(ran->outcome), std::move(*out), std::move(*err)});
    ran_steps.push_back(&step);
  }
  if (kept.valid()) {
    const auto take = [&]() { return take_artifacts(kept, result); };
    const auto taken = co_await offload(threads_, take);
    if (!taken) co_return std::unexpected(taken.error());
  }
  if (failed || plan.tests.empty()) judge_steps(plan, ran_steps, result);
  else result.verdict = Verdict::ok;
  co_return snapshot;
}

/// The tests of one job while they run. Tests are taken in order; `end` moves down to just behind the first failure.
struct Runner::TestRun {
  TestRun(ActiveJob& j, const core::JobSpec& s, const JobPlan& p, const core::Fd& t, asio::any_io_executor executor)
      : job(j), spec(s), plan(p), tree(t), end(p.tests.size()), results(p.tests.size()), workers_changed(std::move(executor)) {}
  ActiveJob& job;
  const core::JobSpec& spec;
  const JobPlan& plan;
  const core::Fd& tree;
  std::size_t next = 0, end;
  std::vector<std::optional<core::TestResult>> results;
  std::map<std::size_t, SlotLease*> running;  // test → where
  std::optional<core::Error> error;
  std::size_t workers = 0;
  WakeUp workers_changed;

  [[nodiscard]] bool is_over() const { return next >= end || error.has_value() || job.stopping(); }
  void stop_at(std::size_t new_end) {
    end = std::min(end, new_end);
    for (auto& [index, lease] : running)
      if (index >= end) lease->cancel();
  }
  void fail(core::Error why) {
    if (!error) error = std::move(why);
    stop_at(0);
  }
};

asio::awaitable<core::Result<core::TestResult>> Runner::run_test(TestRun& run, std::size_t index, SlotLease& lease) {
  const Staging staging{run.plan.image, run.tree.valid() ? &run.tree : nullptr,   false, false, {}, 0,
                        false,          {true, index, run.plan.tests[index].name}};
  auto ran = co_await run_step(run.job, lease, run.plan.tests[index], staging);
  if (!ran) co_return std::unexpected(ran.error());
  const core::TestSpec& test = run.spec.tests[index];
  core::TestResult result;
  result.name = test.name;
  result.outcome = std::move(ran->outcome);
  auto out = sandbox::read_all(ran->stdout_fd.get());
  auto err = sandbox::read_all(ran->stderr_fd.get());
  if (!out || !err) co_return std::unexpected(!out ? out.error() : err.error());
  result.stdout_bytes = std::move(*out);
  result.stderr_bytes = std::move(*err);
  if (result.outcome.verdict == Verdict::ok) {
    result.outcome.verdict = Verdict::accepted;
    if (test.expected) {
      const auto compare = [&]() { return judge::compare(run.spec.checker, test.expected->bytes, result.stdout_bytes); };
      const bool small = result.stdout_bytes.size() + test.expected->bytes.size() <= kCompareHereBytes;
      judge::Comparison comparison;
      if (small) comparison = compare();
      else comparison = co_await offload(threads_, compare);
      if (!comparison.accepted) result.outcome.verdict = Verdict::wrong_answer;
      result.checker_message = comparison.message;
    }
    if (result.outcome.verdict == Verdict::accepted) result.points = test.points;
  }
  if (cut(result.stdout_bytes)) result.outcome.stdout_truncated = true;
  if (cut(result.stderr_bytes)) result.outcome.stderr_truncated = true;
  co_return result;
}

asio::awaitable<void> Runner::run_tests_in(std::shared_ptr<TestRun> run, SlotLease lease) {
  lease.show_job(run->job.id);
  while (!run->is_over()) {
    const std::size_t index = run->next++;
    run->running[index] = &lease;
    auto result = co_await run_test(*run, index, lease);
    run->running.erase(index);
    if (!result) {
      run->fail(result.error());
      break;
    }
    if (index >= run->end) continue;  // a test before it failed while it ran: it does not count
    const bool accepted = result->outcome.verdict == Verdict::accepted;
    run->results[index] = std::move(*result);
    if (!accepted && run->spec.stop_on_failure) run->stop_at(index + 1);
  }
}

asio::awaitable<void> Runner::help_with_tests(std::shared_ptr<TestRun> run, std::shared_ptr<SlotPool::Request> request) {
  if (auto lease = co_await pool_.wait(std::move(request))) co_await run_tests_in(run, std::move(*lease));
  --run->workers;
  run->workers_changed.all();
}

asio::awaitable<core::Status> Runner::run_tests(ActiveJob& job, const core::JobSpec& spec, const JobPlan& plan, const core::Fd& tree,
                                                SlotLease lease, core::JobResult& result) {
  const auto executor = co_await asio::this_coro::executor;
  const auto run = std::make_shared<TestRun>(job, spec, plan, tree, executor);
  std::vector<std::shared_ptr<SlotPool::Request>> requests;
  for (std::size_t extra = 1; extra < std::min<std::size_t>(pool_.size(), plan.tests.size()); ++extra) {
    requests.push_back(pool_.request(SlotLine::running_job));
    ++run->workers;
    asio::co_spawn(executor, help_with_tests(run, requests.back()), asio::detached);
  }
  co_await run_tests_in(run, std::move(lease));
  for (const auto& request : requests) pool_.withdraw(request);
  while (run->workers > 0) co_await run->workers_changed.wait();
  if (run->error) co_return std::unexpected(*run->error);
  for (std::size_t i = 0; i < run->end; ++i)
    if (run->results[i]) result.tests.push_back(std::move(*run->results[i]));
  if (!job.stopping()) judge_tests(plan, result);
  co_return core::Status{};
}

asio::awaitable<core::Result<core::JobResult>> Runner::run(ActiveJob& job, const core::JobSpec& spec, SlotLease lease) {
  lease.show_job(job.id);
  const auto plan = plan_job(spec, catalogue_, levels_);
  if (!plan) co_return refused(plan.error().what);
  core::JobResult result;
  const auto* language = spec.language ? catalogue_.find_language(*spec.language) : nullptr;
  const auto limits = placing_limits(spec, language, levels_);
  const auto place = [&]() { return tree_of(*plan, limits, unpack_); };
  core::Result<core::Fd> files;
  if (plan->archive.empty()) files = place();
  else files = co_await offload(unpacking_, place);
  if (!files && files.error().kind == core::ErrorKind::invalid) co_return refused("the files cannot be placed: " + files.error().what);
  if (!files) co_return std::unexpected(files.error());
  core::Fd snapshot;
  if (!plan->steps.empty()) {
    auto left = co_await run_steps(job, spec, *plan, *files, lease, result);
    if (!left) co_return std::unexpected(left.error());
    snapshot = std::move(*left);
  } else {
    result.verdict = Verdict::ok;
  }
  if (!plan->tests.empty() && result.verdict != Verdict::ok) result.score = 0;
  if (!plan->tests.empty() && result.verdict == Verdict::ok && !job.stopping()) {
    const core::Fd& tree = plan->compile_step >= 0 ? snapshot : *files;
    if (auto done = co_await run_tests(job, spec, *plan, tree, std::move(lease), result); !done) co_return std::unexpected(done.error());
  }
  if (job.stopping()) {
    result.verdict = Verdict::cancelled;
    result.message = "cancelled";
    if (!plan->tests.empty()) result.score = judge::score_of_tests(result.tests);
  }
  co_return result;
}

}  // namespace bailiff::server
