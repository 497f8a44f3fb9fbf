// bench_fair [--parts limit,setup,spread,memory] [--runs N] [--slots S] [--limit-ms MS] [--used-steps N]: how exact the figures of a step
//         are.
//   limit   a program that spins for 0.95 and for 1.05 of its CPU time limit, idle and with all other slots busy: wrong verdicts, and how
//         far
//           a program that never ends gets past the limit, in CPU time
//   setup   what of ours is in a program's CPU time: its figure against what it saw of itself, and /bin/true against a bare spawn
//   spread  one deterministic program, idle and with all other slots busy, with slots pinned to CPUs and not: its CPU and wall times
//   memory  the peak of a program that touches N MiB against N MiB, in a new slot and after many steps
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/floor.h"
#include "bench/rig.h"

namespace {

using namespace bailiff;
using bench::Distribution;

struct Settings {
  std::vector<std::string> parts = {"limit", "setup", "spread", "memory"};
  int runs = 200, used_steps = 1000;
  unsigned slots = static_cast<unsigned>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  std::uint64_t limit_ms = 100, largest_mib = 512;
};

/// Keeps all slots but the first busy for as long as it lives.
class Load {
 public:
  Load(bench::Rig& rig, unsigned slots) : rig_(rig), slots_(slots) {
    auto limits = core::ceiling_limits();
    limits.memory_bytes = core::default_limits().memory_bytes;
    for (unsigned i = 1; i < slots_; ++i)
      if (auto started = rig_.slot(i).start(bench::request_for({"victim", "compute", "0"}, limits)); !started)
        bench::give_up(started.error().what);
  }
  ~Load() {
    for (unsigned i = 1; i < slots_; ++i) {
      (void)rig_.slot(i).cancel();
      (void)rig_.slot(i).finish();
    }
  }
  Load(const Load&) = delete;

 private:
  bench::Rig& rig_;
  unsigned slots_;
};

void limit_part(const Settings& settings, bench::Rig& rig, const char* what) {
  auto limits = bench::wide_limits();
  limits.cpu_time_us = settings.limit_ms * 1000;
  const auto words_for = [&](double share) {
    return std::vector<std::string>{"victim", "spin_and_tell",
                                    std::to_string(static_cast<long>(share * static_cast<double>(limits.cpu_time_us)))};
  };
  int wrong = 0;
  std::vector<double> beyond_ms;
  for (int i = 0; i < settings.runs; ++i) {
    const auto below = bench::run(rig.slot(0), bench::request_for(words_for(0.95), limits)).outcome.verdict;
    const auto above = bench::run(rig.slot(0), bench::request_for(words_for(1.05), limits)).outcome.verdict;
    wrong += (below != core::Verdict::ok) + (above != core::Verdict::time_limit_exceeded);
    const auto endless = bench::run(rig.slot(0), bench::request_for({"victim", "spin_forever"}, limits)).outcome;
    if (endless.verdict != core::Verdict::time_limit_exceeded) ++wrong;
    beyond_ms.push_back((static_cast<double>(endless.usage.cpu_us) - static_cast<double>(limits.cpu_time_us)) / 1000);
  }
  std::printf("%s: %d wrong verdicts of %d; past the limit, ms of CPU time: %s\n", what, wrong, 3 * settings.runs,
              bench::describe(Distribution(beyond_ms)).c_str());
}

void measure_limit(const Settings& settings) {
  std::printf("CPU time limit of %lu ms, %u slots\n", settings.limit_ms, settings.slots);
  bench::Rig rig(settings.slots);
  limit_part(settings, rig, "  idle");
  const Load load(rig, settings.slots);
  limit_part(settings, rig, "  busy");
}

double bare_cpu_us() {
  const auto used = [] {
    rusage children{};
    getrusage(RUSAGE_CHILDREN, &children);
    const auto us = [](const timeval& time) { return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec); };
    return us(children.ru_utime) + us(children.ru_stime);
  };
  const double before = used();
  bench::run_bare();
  return used() - before;
}

void measure_setup(const Settings& settings) {
  bench::Rig rig(1);
  std::vector<double> bare, own, spun;
  for (int i = 0; i < settings.runs; ++i) {
    bare.push_back(bare_cpu_us());
    own.push_back(
        static_cast<double>(bench::run_well(rig.slot(0), bench::request_for({"/bin/true"}, core::default_limits())).outcome.usage.cpu_us));
    const auto ran = bench::run_well(rig.slot(0), bench::request_for({"victim", "spin_and_tell", "2000"}, core::default_limits()));
    double start_ns = 0, end_ns = 0;
    if (std::sscanf(ran.out.c_str(), "%lf %lf", &start_ns, &end_ns) != 2) bench::give_up("the victim said " + ran.out);
    spun.push_back(static_cast<double>(ran.outcome.usage.cpu_us) - (end_ns - start_ns) / 1000);
  }
  std::printf("CPU time, us\n  /bin/true, bare spawn   %s\n  /bin/true, as reported  %s\n", bench::describe(Distribution(bare)).c_str(),
              bench::describe(Distribution(own)).c_str());
  std::printf("  reported less what the program saw of itself from main on (exec and exit are in it)\n                          %s\n",
              bench::describe(Distribution(spun)).c_str());
}

void spread_part(const Settings& settings, bench::Rig& rig, const char* what, bench::Table& table) {
  std::vector<double> cpu_ms, wall_ms;
  for (int i = 0; i < settings.runs; ++i) {
    const auto outcome = bench::run_well(rig.slot(0), bench::request_for({"victim", "compute", "1000"}, bench::wide_limits())).outcome;
    cpu_ms.push_back(static_cast<double>(outcome.usage.cpu_us) / 1000);
    wall_ms.push_back(static_cast<double>(outcome.usage.wall_us) / 1000);
  }
  for (const auto& [name, samples] : {std::pair{"CPU", &cpu_ms}, {"wall", &wall_ms}}) {
    const Distribution all(*samples);
    table.add({std::string(what) + ", " + name, bench::number(all.min(), 2), bench::number(all.median(), 2), bench::number(all.p99(), 2),
               bench::number(all.max(), 2), bench::number(all.deviation(), 3), bench::number(100 * all.deviation() / all.median(), 2)});
  }
}

void measure_spread(const Settings& settings) {
  std::printf("one deterministic program %d times, ms\n", settings.runs);
  bench::Table table({"", "min", "median", "p99", "max", "sd", "sd % of median"});
  const long cpus = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  std::vector<std::string> pins;
  for (unsigned slot = 0; slot < settings.slots; ++slot) pins.push_back(std::to_string(slot % static_cast<unsigned>(cpus)));
  for (const bool pinned : {false, true}) {
    bench::Rig rig(settings.slots, pinned ? pins : std::vector<std::string>{});
    spread_part(settings, rig, pinned ? "pinned, idle" : "idle", table);
    const Load load(rig, settings.slots);
    spread_part(settings, rig, pinned ? "pinned, busy" : "busy", table);
  }
  table.print();
}

void memory_part(const Settings& settings, bench::Rig& rig, const char* what, bench::Table& table) {
  auto limits = bench::wide_limits();
  limits.memory_bytes = (settings.largest_mib + 64) * core::kMiB;
  std::vector<double> over;
  std::vector<std::string> row = {what};
  for (std::uint64_t mib = 1; mib <= settings.largest_mib; mib *= 2) {
    std::vector<double> each;
    for (int i = 0; i < 10; ++i) {
      const auto outcome = bench::run_well(rig.slot(0), bench::request_for({"victim", "allocate", std::to_string(mib)}, limits)).outcome;
      each.push_back((static_cast<double>(outcome.usage.memory_peak_bytes) - static_cast<double>(mib * core::kMiB)) / 1024);
    }
    over.insert(over.end(), each.begin(), each.end());
    row.push_back(bench::number(Distribution(each).median(), 0));
  }
  const Distribution all(over);
  row.insert(row.end(), {bench::number(all.min(), 0), bench::number(all.max(), 0)});
  table.add(row);
}

void measure_memory(const Settings& settings) {
  std::printf("peak of a program that touches N MiB, less N MiB, KiB (medians of 10); the program's own file in /work is in it\n");
  std::vector<std::string> head = {"N"};
  for (std::uint64_t mib = 1; mib <= settings.largest_mib; mib *= 2) head.push_back(std::to_string(mib));
  head.insert(head.end(), {"least", "most"});
  bench::Table table(head);
  bench::Rig rig(1);
  memory_part(settings, rig, "new slot", table);
  for (int i = 0; i < settings.used_steps; ++i)
    (void)bench::run(rig.slot(0), i % 100 == 0 ? bench::request_for({"victim", "fill_tmp", "20"}, core::default_limits())
                                               : bench::request_for({"/bin/true"}, core::default_limits()));
  memory_part(settings, rig, ("after " + std::to_string(settings.used_steps) + " steps").c_str(), table);
  table.print();
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("How exact the figures of a step are");
  app.option_defaults()->always_capture_default();
  app.add_option("--parts", settings.parts, "limit, setup, spread, memory")
      ->delimiter(',')
      ->check(CLI::IsMember({"limit", "setup", "spread", "memory"}));
  app.add_option("--runs", settings.runs, "Of each kind")->check(CLI::Range(1, 100'000));
  app.add_option("--slots", settings.slots, "All but the first are the load")->check(CLI::Range(1, 64));
  app.add_option("--limit-ms", settings.limit_ms, "Milliseconds of CPU time")->check(CLI::Range(10, 10'000));
  app.add_option("--largest-mib", settings.largest_mib, "The most memory touched")->check(CLI::Range(1, 2048));
  app.add_option("--used-steps", settings.used_steps, "Steps before the slot counts as used")->check(CLI::Range(1, 1'000'000));
  CLI11_PARSE(app, argc, argv);
  const std::pair<const char*, void (*)(const Settings&)> parts[] = {
      {"limit", measure_limit}, {"setup", measure_setup}, {"spread", measure_spread}, {"memory", measure_memory}};
  for (const auto& [name, measure] : parts)
    if (std::find(settings.parts.begin(), settings.parts.end(), name) != settings.parts.end()) measure(settings);
}
