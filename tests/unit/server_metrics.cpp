#include "server/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>

namespace bailiff::server {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Metrics, EveryEventMovesItsOwnSeries) {
  Metrics metrics;
  const auto before = metrics.text({});
  for (const char* line : {"bailiff_jobs_accepted_total 0\n", "bailiff_jobs_finished_total{verdict=\"memory_limit_exceeded\"} 0\n",
                           "bailiff_job_wait_seconds_count 0\n", "bailiff_ready 0\n", "bailiff_queue_oldest_seconds 0\n"})
    EXPECT_NE(before.find(line), std::string::npos) << line << before;

  metrics.jobs_accepted(3);
  metrics.job_started(milliseconds(20));
  metrics.job_finished(core::Verdict::memory_limit_exceeded, seconds(2));
  metrics.job_requeued();
  metrics.jobs_forgotten(4);
  metrics.step_ran(microseconds(700));
  metrics.committed(milliseconds(3), 7);
  metrics.answered(201);
  metrics.answered(201);
  metrics.webhook_attempted(storage::WebhookState::delivered);
  const auto text = metrics.text({true, {5, 2}, seconds(90), 1, 2, 3, 4});
  for (const char* line : {"bailiff_jobs_accepted_total 3\n",
                           "bailiff_jobs_finished_total{verdict=\"memory_limit_exceeded\"} 1\n",
                           "bailiff_jobs_finished_total{verdict=\"ok\"} 0\n",
                           "bailiff_jobs_requeued_total 1\n",
                           "bailiff_jobs_forgotten_total 4\n",
                           "bailiff_job_wait_seconds_bucket{le=\"0.01\"} 0\n",
                           "bailiff_job_wait_seconds_bucket{le=\"0.025\"} 1\n",
                           "bailiff_job_run_seconds_sum 2\n",
                           "bailiff_step_overhead_seconds_bucket{le=\"0.0005\"} 0\n",
                           "bailiff_step_overhead_seconds_bucket{le=\"0.001\"} 1\n",
                           "bailiff_commit_seconds_count 1\n",
                           "bailiff_commit_writes_sum 7\n",
                           "bailiff_http_responses_total{status=\"201\"} 2\n",
                           "bailiff_ready 1\n",
                           "bailiff_jobs{state=\"queued\"} 5\n",
                           "bailiff_jobs{state=\"running\"} 2\n",
                           "bailiff_queue_oldest_seconds 90\n",
                           "bailiff_slots{state=\"idle\"} 1\n",
                           "bailiff_slots{state=\"busy\"} 2\n",
                           "bailiff_slots{state=\"dead\"} 3\n",
                           "bailiff_webhooks_pending 4\n",
                           "bailiff_webhook_attempts_total{outcome=\"delivered\"} 1\n",
                           "bailiff_webhook_attempts_total{outcome=\"failed\"} 0\n",
                           "bailiff_build_info{version=\"" BAILIFF_VERSION "\"} 1\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(Metrics, TheProcessIsMeasured) {
  Metrics metrics;
  const auto value = [](const std::string& text, const std::string& name) {
    const auto found = text.find("\n" + name + " ");
    return found == std::string::npos ? -1 : std::stod(text.substr(found + name.size() + 2));
  };
  const auto text = metrics.text({});
  EXPECT_GT(value(text, "process_resident_memory_bytes"), 1e6) << text;
  EXPECT_GE(value(text, "process_open_fds"), 3) << text;
  const double cpu = value(text, "process_cpu_seconds_total");
  const auto until = std::chrono::steady_clock::now() + milliseconds(30);
  while (std::chrono::steady_clock::now() < until) {}
  EXPECT_GT(value(metrics.text({}), "process_cpu_seconds_total"), cpu);
}

std::string text_of(const std::string& path) {
  std::ifstream stream(BAILIFF_SOURCE_DIRECTORY "/" + path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The series that a text names, without what Prometheus appends to those of a histogram.
std::set<std::string> names_in(const std::string& text) {
  constexpr std::string_view kOfNames = "abcdefghijklmnopqrstuvwxyz_";
  std::set<std::string> names;
  for (std::size_t begin = text.find_first_of(kOfNames); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_not_of(kOfNames, begin), text.size());
    std::string name = text.substr(begin, end - begin);
    for (const std::string_view suffix : {"_bucket", "_count", "_sum"})
      if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
    if (name.starts_with("bailiff_") || name.starts_with("process_")) names.insert(std::move(name));
    begin = text.find_first_of(kOfNames, end);
  }
  return names;
}

TEST(Metrics, TheDashboardTheAlertsAndTheDocumentNameSeriesThatThereAre) {
  Metrics metrics;
  metrics.answered(200);
  const auto text = metrics.text({});
  const auto dashboard = text_of("packaging/observability/grafana/dashboards/bailiff.json");
  EXPECT_GE(nlohmann::json::parse(dashboard)["panels"].size(), 8U);
  std::set<std::string> there;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("# HELP ")) there.insert(line.substr(7, line.find(' ', 7) - 7));
  for (const auto& from : {dashboard, text_of("packaging/observability/alerts.yml")}) {
    EXPECT_GE(names_in(from).size(), 5U);
    for (const auto& used : names_in(from)) EXPECT_TRUE(there.contains(used)) << used;
  }
  const auto document = text_of("docs/operations.md");
  for (const auto& series : there) EXPECT_NE(document.find("`" + series), std::string::npos) << series << " is not documented";
}

}  // namespace
}  // namespace bailiff::server
