// bench_image DIR [--image sha256-…] [--steps N]: one trivial step (/bin/true) in an EROFS image of the directory against the same step in `host`, turn by
// turn in one run, each in a slot of its own.
// bench_image DIR --idle: what all images of the directory cost while nothing runs in them.
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/rig.h"
#include "tests/system/host_census.h"

namespace {

using namespace bailiff;

std::vector<std::string> images_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".erofs") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  if (names.empty()) bench::give_up(directory + ": no images");
  return names;
}

sandbox::Launcher launcher_with(unsigned slots, const std::string& directory) {
  sandbox::LauncherConfig config;
  config.slots = slots;
  config.images = {{"host", sandbox::Image::Kind::host, ""}};
  config.images_directory = std::filesystem::absolute(directory).string();
  auto launcher = sandbox::Launcher::start(config);
  if (!launcher) bench::give_up(launcher.error().what);
  return std::move(*launcher);
}

void add(sandbox::Launcher& launcher, const std::string& image) {
  if (auto added = launcher.add_image(image); !added) bench::give_up(image + ": " + added.error().what);
}

double step_ms(sandbox::Slot& slot, const std::string& image) {
  auto request = bench::request_for({"/bin/true"}, bench::wide_limits());
  request.image = image;
  const auto started = std::chrono::steady_clock::now();
  bench::run_well(slot, std::move(request));
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
}

void compare(const std::string& directory, const std::string& image, int steps) {
  auto launcher = launcher_with(2, directory);
  add(launcher, image);
  std::vector<sandbox::Slot> slots;
  for (int i = 0; i < 2; ++i) {
    auto slot = launcher.next_slot();
    if (!slot) bench::give_up(slot.error().what);
    slots.push_back(std::move(*slot));
  }
  const std::string images[] = {"host", image};
  for (int i = 0; i < 10; ++i)
    for (unsigned k = 0; k < 2; ++k) (void)step_ms(slots[k], images[k]);
  std::vector<double> samples[2];
  for (int i = 0; i < steps; ++i)
    for (unsigned k = 0; k < 2; ++k) samples[(i + k) % 2].push_back(step_ms(slots[(i + k) % 2], images[(i + k) % 2]));
  const bench::Distribution host(samples[0]), erofs(samples[1]);
  bench::Table table({"", "steps", "median ms", "p99 ms"});
  table.add({"host", std::to_string(steps), bench::number(host.median(), 3), bench::number(host.p99(), 3)});
  table.add({"erofs", std::to_string(steps), bench::number(erofs.median(), 3), bench::number(erofs.p99(), 3)});
  table.print();
  std::printf("erofs / host, medians: %s\n", bench::number(erofs.median() / host.median(), 3).c_str());
}

/// KiB, from /proc/meminfo.
std::map<std::string, long> memory() {
  std::map<std::string, long> all;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(':');
    if (colon != std::string::npos) all[line.substr(0, colon)] = std::strtol(line.c_str() + colon + 1, nullptr, 10);
  }
  return all;
}

/// KiB that only these processes have: the launcher's and those below it.
long private_memory(pid_t root) {
  long sum = 0;
  for (const auto& process : system_tests::processes_below(root)) {
    std::ifstream in("/proc/" + std::to_string(process.pid) + "/smaps_rollup");
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("Private_")) sum += std::strtol(line.c_str() + line.find(':') + 1, nullptr, 10);
  }
  return sum;
}

void print_idle_cost(const std::string& directory) {
  auto launcher = launcher_with(1, directory);
  auto slot = launcher.next_slot();
  if (!slot) bench::give_up(slot.error().what);
  (void)step_ms(*slot, "host");
  const auto images = images_in(directory);
  const auto before = memory();
  const long before_private = private_memory(launcher.pid());
  for (const auto& image : images) add(launcher, image);
  const auto with = memory();
  std::printf("%zu images, KiB for all of them: processes %+ld, kernel (the whole machine's) %+ld, reclaimable %+ld\n", images.size(),
              private_memory(launcher.pid()) - before_private, with.at("SUnreclaim") - before.at("SUnreclaim"),
              with.at("SReclaimable") - before.at("SReclaimable"));
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory, image;
  int steps = 2000;
  bool idle = false;
  CLI::App app("Steps in EROFS images");
  app.add_option("DIR", directory, "Directory of images")->required();
  app.add_option("--image", image, "sha256-…; else the largest");
  app.add_option("--steps", steps, "Steps of each")->capture_default_str()->check(CLI::Range(10, 1'000'000));
  app.add_flag("--idle", idle, "What the images of the directory cost while nothing runs in them");
  CLI11_PARSE(app, argc, argv);
  if (idle) {
    print_idle_cost(directory);
    return 0;
  }
  if (image.empty()) {
    std::uintmax_t most = 0;
    for (const auto& name : images_in(directory))
      if (const auto bytes = std::filesystem::file_size(directory + "/" + name + ".erofs"); bytes >= most) {
        most = bytes;
        image = name;
      }
  }
  compare(directory, image, steps);
}
