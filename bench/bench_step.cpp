// bench_step [--at-once 1,2,8] [--gap 0,3,50] [--steps N] [--no-peers] [--slot-cpus] [--json]: one trivial step (/bin/true), as a caller
// sees it, through a bare spawn, the floor (bench/floor.h) with fresh groups and born into its groups, the sandbox library with everything
// on, and the peers that are installed (bench/peers.h). All are interleaved in one run, block by block, by workers that change subject
// together; one table for each number of workers and each gap.
// bench_step --idle-slots N: what an idle slot costs.  bench_step --drift N: whether N steps in a row leave something behind.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/compare.h"
#include "bench/cost.h"
#include "bench/figures.h"
#include "bench/peers.h"

namespace {

using namespace bailiff;

struct Settings {
  std::vector<unsigned> at_once = {1, 2, 8};
  std::vector<int> gaps_ms = {0, 3, 50};
  bench::Setting each;
  bool has_peers = true, is_json = false;
  unsigned idle_slots = 0;
  int drift = 0;
};

void print(const bench::Setting& setting, const std::vector<bench::Row>& rows) {
  std::printf("%u at once, %d ms between%s\n", setting.at_once, setting.gap_ms, setting.is_pinned ? ", each pinned to a CPU" : "");
  bench::Table table({"", "steps", "median ms", "p99 ms", "steps/s", "x bare"});
  for (const auto& row : rows)
    table.add({row.subject, std::to_string(row.steps), bench::number(row.median_ms, 3), bench::number(row.p99_ms, 3),
               bench::number(row.steps_per_second, 0), bench::number(row.to_bare, 2)});
  table.print();
}

nlohmann::json json_of(const bench::Setting& setting, const std::vector<bench::Row>& rows) {
  auto all = nlohmann::json::array();
  for (const auto& row : rows)
    all.push_back({{"at_once", setting.at_once},
                   {"gap_ms", setting.gap_ms},
                   {"pinned", setting.is_pinned},
                   {"subject", row.subject},
                   {"steps", row.steps},
                   {"median_ms", row.median_ms},
                   {"p99_ms", row.p99_ms},
                   {"steps_per_s", row.steps_per_second},
                   {"x_bare", row.to_bare}});
  return all;
}

void compare_all(const Settings& settings) {
  std::optional<bench::Peers> peers;
  if (settings.has_peers) peers.emplace();
  if (peers)
    for (const auto& name : peers->left_out()) std::fprintf(stderr, "left out: %s\n", name.c_str());
  auto all = nlohmann::json::array();
  for (const unsigned at_once : settings.at_once)
    for (const int gap_ms : settings.gaps_ms) {
      auto setting = settings.each;
      setting.at_once = at_once;
      setting.gap_ms = gap_ms;
      const auto rows = bench::compare(setting, peers ? peers->usable() : std::vector<bench::Peer>{});
      if (!settings.is_json) print(setting, rows);
      else
        for (auto& row : json_of(setting, rows)) all.push_back(std::move(row));
    }
  if (settings.is_json) std::printf("%s\n", all.dump(1).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("One trivial step: bare, floor, the sandbox library, and other sandboxes");
  app.option_defaults()->always_capture_default();
  app.add_option("--at-once", settings.at_once, "Workers")->delimiter(',')->check(CLI::Range(1, 64));
  app.add_option("--gap", settings.gaps_ms, "Milliseconds of idleness before each step")->delimiter(',')->check(CLI::Range(0, 10'000));
  app.add_option("--steps", settings.each.steps, "Steps of each subject and worker; slow peers run fewer")
      ->check(CLI::Range(10, 1'000'000));
  app.add_flag("--peers,!--no-peers", settings.has_peers, "Compare with the other sandboxes that are installed");
  app.add_flag("--slot-cpus", settings.each.is_pinned, "Worker k and its slot stay on CPU k modulo their number");
  app.add_flag("--json", settings.is_json, "One array of rows in place of the tables");
  app.add_option("--idle-slots", settings.idle_slots, "What an idle slot costs, from so many")->check(CLI::Range(1, 256));
  app.add_option("--drift", settings.drift, "So many steps in a row, the first against the last")->check(CLI::Range(10, 10'000'000));
  CLI11_PARSE(app, argc, argv);
  if (settings.idle_slots > 0) bench::print_idle_cost(settings.idle_slots);
  if (settings.drift > 0) bench::print_drift(settings.drift);
  if (settings.idle_slots == 0 && settings.drift == 0) compare_all(settings);
}
