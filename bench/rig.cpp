#include "bench/rig.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace bailiff::bench {
namespace {

template <typename T>
T taken(core::Result<T> result) {
  if (!result) give_up(result.error().what);
  return std::move(*result);
}

sandbox::Launcher start(unsigned slots, std::vector<std::string> slot_cpus) {
  sandbox::LauncherConfig config;
  config.slots = slots;
  config.images = {{"host", sandbox::Image::Kind::host, ""}};
  config.slot_cpus = std::move(slot_cpus);
  return taken(sandbox::Launcher::start(config));
}

/// The victim in a tree, for all requests.
int victim_tree() {
  static const core::Fd tree = [] {
    const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "victim";
    std::ifstream in(path, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    if (bytes.empty()) give_up("cannot read " + path.string());
    sandbox::TreeWriter writer;
    if (auto added = writer.add_file("victim", bytes, 0755); !added) give_up(added.error().what);
    return taken(writer.finish());
  }();
  return tree.get();
}

}  // namespace

void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

Rig::Rig(unsigned slots, std::vector<std::string> slot_cpus) : launcher_(start(slots, std::move(slot_cpus))) {
  for (unsigned i = 0; i < slots; ++i) slots_.push_back(taken(launcher_.next_slot()));
  std::sort(slots_.begin(), slots_.end(), [](const auto& a, const auto& b) { return a.index() < b.index(); });
  for (auto& slot : slots_)
    for (int i = 0; i < 4; ++i) run_well(slot, request_for({"/bin/true"}, wide_limits()));  // both stations come to life
}

core::Limits wide_limits() {
  auto limits = core::default_limits();
  limits.cpu_time_us = limits.wall_time_us = 60'000'000;
  return limits;
}

sandbox::StepRequest request_for(std::vector<std::string> argv, const core::Limits& limits) {
  sandbox::StepRequest request;
  request.image = "host";
  request.limits = limits;
  request.argv = std::move(argv);
  if (request.argv.front() == "victim") {
    request.argv.front() = "/work/victim";
    request.trees.emplace_back(fcntl(victim_tree(), F_DUPFD_CLOEXEC, 0));
  }
  request.stdout_fd = taken(sandbox::output_memfd());
  request.stderr_fd = taken(sandbox::output_memfd());
  return request;
}

std::int64_t Ran::evidence(const std::string& name) const {
  for (const auto& [key, value] : outcome.evidence)
    if (key == name) return value;
  return 0;
}

Ran run(sandbox::Slot& slot, sandbox::StepRequest request) {
  auto report = taken(slot.run(request));
  return {std::move(report.outcome), taken(sandbox::read_all(request.stdout_fd.get()))};
}

Ran run_well(sandbox::Slot& slot, sandbox::StepRequest request) {
  const std::string program = request.argv.front();
  auto ran = run(slot, std::move(request));
  if (ran.outcome.verdict != core::Verdict::ok)
    give_up(program + ": " + std::string(core::name(ran.outcome.verdict)) + " " + ran.outcome.message);
  return ran;
}

}  // namespace bailiff::bench
