// bench_step [--steps N] [--at-once C] [--gap MS]: one trivial step (/bin/true), as a caller sees it, through a bare fork and exec, the
// floor (bench/floor.h) with fresh groups and born into its groups, and through the sandbox library with everything on. All are
// interleaved in one run, block by block, by C worker processes that change subject together; prints median, p99, steps per second and
// the ratio to bare.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "bench/floor.h"
#include "sandbox/client.h"

namespace {

using namespace bailiff;
using Clock = std::chrono::steady_clock;

constexpr const char* kSubjects[] = {"bare", "floor", "born", "bailiff"};
constexpr std::size_t kSubjectCount = 4;
constexpr int kBlocks = 10;

struct Settings {
  int steps = 400, at_once = 1, gap_ms = 0;
};

/// Shared by the workers: a barrier, and every sample of every subject.
struct Board {
  pthread_barrier_t barrier;
  double block_seconds[kSubjectCount][kBlocks];
  // Behind it, [subject][worker][step]:
  double* samples() { return reinterpret_cast<double*>(this + 1); }
  [[nodiscard]] const double* samples() const { return reinterpret_cast<const double*>(this + 1); }
};

double milliseconds_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

void run_in_sandbox(sandbox::Slot& slot) {
  sandbox::StepRequest request;
  request.image = "host";
  request.argv = {"/bin/true"};
  auto out = sandbox::output_memfd(), err = sandbox::output_memfd();
  request.stdout_fd = std::move(*out);
  request.stderr_fd = std::move(*err);
  const auto report = slot.run(request);
  if (!report || report->outcome.verdict != core::Verdict::ok) {
    std::fprintf(stderr, "step failed: %s\n", report ? report->outcome.message.c_str() : report.error().what.c_str());
    std::exit(1);
  }
}

/// Gives each worker's floor a process of its own (it enters a mount namespace and groups), driven over a pipe pair.
class Driven {
 public:
  explicit Driven(const std::function<std::function<void()>()>& make) {
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) std::exit(1);
    process_ = fork();
    if (process_ == 0) {
      close(to[1]);
      close(from[0]);
      {
        const auto run = make();
        for (char byte = 0; read(to[0], &byte, 1) == 1;) {
          const auto start = Clock::now();
          run();
          const double took = milliseconds_since(start);
          if (write(from[1], &took, sizeof took) != sizeof took) break;
        }
      }
      _exit(0);
    }
    close(to[0]);
    close(from[1]);
    go_ = to[1];
    done_ = from[0];
  }
  ~Driven() {
    close(go_);
    waitpid(process_, nullptr, 0);
    close(done_);
  }
  Driven(const Driven&) = delete;
  /// Milliseconds, measured inside.
  double run() const {
    double took = 0;
    if (write(go_, "g", 1) != 1 || read(done_, &took, sizeof took) != sizeof took) std::exit(1);
    return took;
  }

 private:
  pid_t process_;
  int go_, done_;
};

std::function<void()> floor_job(unsigned worker, bench::Floor::Groups groups) {
  auto floor = std::make_shared<bench::Floor>(worker, groups);
  return [floor] { floor->run(); };
}

void work(unsigned worker, const Settings& settings, sandbox::Slot& slot, Board& board) {
  const Driven fresh([&] { return floor_job(worker, bench::Floor::Groups::fresh); });
  const Driven born([&] { return floor_job(worker + 1000, bench::Floor::Groups::born); });
  const std::function<double()> subjects[kSubjectCount] = {[] {
                                                             const auto start = Clock::now();
                                                             bench::run_bare();
                                                             return milliseconds_since(start);
                                                           },
                                                           [&] { return fresh.run(); }, [&] { return born.run(); },
                                                           [&] {
                                                             const auto start = Clock::now();
                                                             run_in_sandbox(slot);
                                                             return milliseconds_since(start);
                                                           }};
  for (int i = 0; i < 4; ++i) run_in_sandbox(slot);  // both stations are up
  const int per_block = settings.steps / kBlocks;
  for (int block = 0; block < kBlocks; ++block)
    for (std::size_t subject = 0; subject < kSubjectCount; ++subject) {
      pthread_barrier_wait(&board.barrier);
      const auto start = Clock::now();
      for (int step = 0; step < per_block; ++step) {
        if (settings.gap_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(settings.gap_ms));
        const auto at = (subject * static_cast<std::size_t>(settings.at_once) + worker) * static_cast<std::size_t>(settings.steps);
        board.samples()[at + static_cast<std::size_t>(block * per_block + step)] = subjects[subject]();
      }
      pthread_barrier_wait(&board.barrier);
      if (worker == 0) board.block_seconds[subject][block] = milliseconds_since(start) / 1000;
    }
}

void print(const Settings& settings, const Board& board) {
  double bare = 0;
  std::printf("%d at once, %d ms between, %d steps each, in blocks of %d\n", settings.at_once, settings.gap_ms, settings.steps,
              settings.steps / kBlocks);
  for (std::size_t subject = 0; subject < kSubjectCount; ++subject) {
    const auto count = static_cast<std::size_t>(settings.at_once) * static_cast<std::size_t>(settings.steps);
    std::vector<double> samples(board.samples() + subject * count, board.samples() + (subject + 1) * count);
    std::sort(samples.begin(), samples.end());
    double seconds = 0;
    for (const double block : board.block_seconds[subject]) seconds += block;
    const double median = samples[count / 2];
    if (subject == 0) bare = median;
    std::printf("%-8s p50 %7.3f ms  p99 %7.3f ms  %6.0f steps/s  %5.2f x bare\n", kSubjects[subject], median, samples[count * 99 / 100],
                static_cast<double>(count) / seconds, median / bare);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("One trivial step: bare, floor, and the sandbox library");
  app.add_option("--steps", settings.steps, "Steps of each subject and worker")->check(CLI::Range(kBlocks, 1'000'000));
  app.add_option("--at-once", settings.at_once, "Workers")->check(CLI::Range(1, 64));
  app.add_option("--gap", settings.gap_ms, "Milliseconds of idleness before each step")->check(CLI::Range(0, 10'000));
  CLI11_PARSE(app, argc, argv);
  settings.steps -= settings.steps % kBlocks;

  sandbox::LauncherConfig config;
  config.slots = static_cast<unsigned>(settings.at_once);
  config.images = {{"host", sandbox::Image::Kind::host, ""}};
  auto launcher = sandbox::Launcher::start(config);
  if (!launcher) {
    std::fprintf(stderr, "%s\n", launcher.error().what.c_str());
    return 1;
  }
  const auto workers = static_cast<std::size_t>(settings.at_once);
  const std::size_t bytes = sizeof(Board) + kSubjectCount * workers * static_cast<std::size_t>(settings.steps) * sizeof(double);
  auto* board = static_cast<Board*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pthread_barrierattr_t shared;
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&board->barrier, &shared, static_cast<unsigned>(workers));
  std::vector<pid_t> processes;
  for (unsigned worker = 0; worker < workers; ++worker) {
    auto slot = launcher->next_slot();
    if (!slot) return 1;
    const pid_t process = fork();
    if (process == 0) {
      work(worker, settings, *slot, *board);
      _exit(0);
    }
    processes.push_back(process);
  }
  bool well = true;
  for (const pid_t process : processes) {
    int status = 0;
    waitpid(process, &status, 0);
    well = well && status == 0;
  }
  if (well) print(settings, *board);
  return well ? 0 : 1;
}
