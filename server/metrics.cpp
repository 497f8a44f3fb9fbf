#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace bailiff::server {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;
using std::chrono::microseconds;

double seconds(microseconds time) { return std::chrono::duration<double>(time).count(); }

/// From a sandbox that was ready to the longest wall time that a request may ask for.
Buckets job_times() { return {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}; }
Buckets short_times() { return {.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}; }
Buckets batch_sizes() { return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}; }

Family<Counter>& counters(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
Family<Gauge>& gauges(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
Histogram& histogram(Registry& registry, const char* name, const char* help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

/// Bytes in memory of this process; 0 where /proc does not tell.
std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::int64_t open_descriptors() {
  std::error_code ec;
  const std::filesystem::directory_iterator listed("/proc/self/fd", ec);
  return ec ? 0 : std::distance(begin(listed), end(listed)) - 1;  // without the one that lists
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

struct Metrics::Series {
  Registry registry;

  Counter& accepted = counters(registry, "bailiff_jobs_accepted_total", "Jobs stored.").Add({});
  Family<Counter>& finished = counters(registry, "bailiff_jobs_finished_total", "Jobs that ended, by verdict.");
  std::array<Counter*, core::kVerdictNames.size()> by_verdict{};
  Counter& requeued = counters(registry, "bailiff_jobs_requeued_total", "Attempts that the sandbox failed or a drain cut short.").Add({});
  Counter& forgotten = counters(registry, "bailiff_jobs_forgotten_total", "Finished jobs that retention deleted.").Add({});
  Histogram& waited = histogram(registry, "bailiff_job_wait_seconds", "From accepted to first started.", job_times());
  Histogram& ran = histogram(registry, "bailiff_job_run_seconds", "The last attempt of a job, from started to committed.", job_times());
  Histogram& overhead =
      histogram(registry, "bailiff_step_overhead_seconds",
                "From handing a step to a slot to its report, less the program's wall time; a pause is in it.", short_times());
  Histogram& commits = histogram(registry, "bailiff_commit_seconds", "Transactions of the database, fsync included.", short_times());
  Histogram& writes = histogram(registry, "bailiff_commit_writes", "Writes of one transaction.", batch_sizes());
  Family<Counter>& answers = counters(registry, "bailiff_http_responses_total",
                                      "Answers of the routes, by status; refusals by the head of a request alone are not in it.");

  Family<Counter>& webhook_attempts =
      counters(registry, "bailiff_webhook_attempts_total",
               "Attempts to deliver a webhook, by what became of it: delivered, failed for good, pending for another attempt.");
  std::array<Counter*, storage::kWebhookStateNames.size()> webhooks_by_outcome{};

  Gauge& webhooks = gauges(registry, "bailiff_webhooks_pending", "Webhooks of ended jobs that are neither delivered nor given up.").Add({});
  Gauge& ready = gauges(registry, "bailiff_ready", "1 where GET /readyz is 200.").Add({});
  Family<Gauge>& jobs = gauges(registry, "bailiff_jobs", "Unfinished jobs, by state.");
  Gauge &queued = jobs.Add({{"state", "queued"}}), &running = jobs.Add({{"state", "running"}});
  Gauge& oldest = gauges(registry, "bailiff_queue_oldest_seconds", "Age of the oldest queued job; 0: none.").Add({});
  Family<Gauge>& slots = gauges(registry, "bailiff_slots", "Slots of the sandbox, by state.");
  Gauge &idle = slots.Add({{"state", "idle"}}), &busy = slots.Add({{"state", "busy"}}), &dead = slots.Add({{"state", "dead"}});
  Gauge& resident = gauges(registry, "process_resident_memory_bytes", "Memory of bailiffd.").Add({});
  Gauge& descriptors = gauges(registry, "process_open_fds", "Open descriptors of bailiffd.").Add({});
  Counter& cpu = counters(registry, "process_cpu_seconds_total", "CPU time of bailiffd; programs are not in it.").Add({});
};

Metrics::Metrics() : series_(std::make_unique<Series>()) {
  // Each from the start, so that a rate over its first increase is right.
  for (std::size_t i = 0; i < core::kVerdictNames.size(); ++i)
    series_->by_verdict.at(i) = &series_->finished.Add({{"verdict", core::kVerdictNames.at(i)}});
  for (std::size_t i = 0; i < storage::kWebhookStateNames.size(); ++i)
    series_->webhooks_by_outcome.at(i) = &series_->webhook_attempts.Add({{"outcome", storage::kWebhookStateNames.at(i)}});
  gauges(series_->registry, "bailiff_build_info", "1; its label tells the version.").Add({{"version", BAILIFF_VERSION}}).Set(1);
}

Metrics::~Metrics() = default;

void Metrics::jobs_accepted(std::uint64_t count) { series_->accepted.Increment(static_cast<double>(count)); }
void Metrics::job_started(microseconds waited) { series_->waited.Observe(seconds(waited)); }
void Metrics::job_finished(core::Verdict verdict, microseconds ran) {
  series_->by_verdict.at(static_cast<std::size_t>(verdict))->Increment();
  series_->ran.Observe(seconds(ran));
}
void Metrics::jobs_forgotten(std::uint64_t count) { series_->forgotten.Increment(static_cast<double>(count)); }
void Metrics::job_requeued() { series_->requeued.Increment(); }
void Metrics::step_ran(microseconds overhead) { series_->overhead.Observe(seconds(overhead)); }
void Metrics::committed(microseconds took, std::uint64_t writes) {
  series_->commits.Observe(seconds(took));
  series_->writes.Observe(static_cast<double>(writes));
}
void Metrics::answered(unsigned status) { series_->answers.Add({{"status", std::to_string(status)}}).Increment(); }
void Metrics::webhook_attempted(storage::WebhookState outcome) {
  series_->webhooks_by_outcome.at(static_cast<std::size_t>(outcome))->Increment();
}

std::string Metrics::text(const Now& now) {
  const auto set = [](Gauge& gauge, auto value) { gauge.Set(static_cast<double>(value)); };
  set(series_->ready, now.ready);
  set(series_->queued, now.depth.queued);
  set(series_->running, now.depth.running);
  series_->oldest.Set(seconds(now.oldest_queued.value_or(microseconds(0))));
  set(series_->idle, now.slots_idle);
  set(series_->busy, now.slots_busy);
  set(series_->dead, now.slots_dead);
  set(series_->webhooks, now.webhooks_pending);
  set(series_->resident, resident_bytes());
  set(series_->descriptors, open_descriptors());
  series_->cpu.Increment(cpu_seconds() - series_->cpu.Value());
  return prometheus::TextSerializer().Serialize(series_->registry.Collect());
}

}  // namespace bailiff::server
