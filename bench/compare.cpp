#include "bench/compare.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

#include "bench/driven.h"
#include "bench/figures.h"
#include "bench/floor.h"
#include "bench/rig.h"

namespace bailiff::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBlocks = 10;

struct Subject {
  std::string name;
  std::size_t per_block;  // steps of a worker
  std::function<std::function<void()>(unsigned worker)> make;  // nothing: through the sandbox
};

/// Figures that the workers share, and the barrier that makes them change subject together. In memory that forked processes share.
class Board {
 public:
  Board(unsigned workers, const std::vector<Subject>& subjects) : workers_(workers) {
    std::size_t samples = 0;
    for (const auto& subject : subjects) {
      first_.push_back(samples);
      samples += subject.per_block * kBlocks * workers;
    }
    const std::size_t seconds = subjects.size() * kBlocks;
    void* memory = mmap(nullptr, sizeof(pthread_barrier_t) + (samples + seconds) * sizeof(double), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) give_up("no memory for the samples");
    barrier_ = static_cast<pthread_barrier_t*>(memory);
    seconds_ = reinterpret_cast<double*>(barrier_ + 1);
    samples_ = seconds_ + seconds;
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(barrier_, &shared, workers);
  }
  Board(const Board&) = delete;

  void meet() { pthread_barrier_wait(barrier_); }
  double& block_seconds(std::size_t subject, std::size_t block) { return seconds_[subject * kBlocks + block]; }
  /// Those of one worker, block after block.
  double* samples(const Subject& subject, std::size_t index, unsigned worker) {
    return samples_ + first_[index] + worker * subject.per_block * kBlocks;
  }
  std::vector<double> all_samples(const Subject& subject, std::size_t index) {
    return {samples(subject, index, 0), samples(subject, index, workers_)};
  }

 private:
  unsigned workers_;
  std::vector<std::size_t> first_;
  pthread_barrier_t* barrier_;
  double *seconds_, *samples_;
};

std::vector<Subject> all_subjects(const Setting& setting, const std::vector<Peer>& peers) {
  const auto floor_job = [](Floor::Groups groups) {
    return [groups](unsigned worker) {
      auto floor = std::make_shared<Floor>(worker, groups);
      return [floor] { floor->run(); };
    };
  };
  const auto per_block = [&](double share) {
    return std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(setting.steps) * share) / kBlocks);
  };
  std::vector<Subject> subjects = {{"bare", per_block(1), [](unsigned) { return run_bare; }},
                                   {"floor", per_block(1), floor_job(Floor::Groups::fresh)},
                                   {"born", per_block(1), floor_job(Floor::Groups::born)},
                                   {"bailiff", per_block(1), {}}};
  for (const auto& peer : peers) subjects.push_back({peer.name, per_block(peer.share), peer.make});
  return subjects;
}

int cpu_of(const Setting& setting, unsigned worker) {
  return setting.is_pinned ? static_cast<int>(worker % std::thread::hardware_concurrency()) : kAnyCpu;
}

void work(unsigned worker, const Setting& setting, const std::vector<Subject>& subjects, sandbox::Slot& slot, Board& board) {
  std::vector<std::unique_ptr<Driven>> driven;
  for (const auto& subject : subjects)
    driven.push_back(subject.make ? std::make_unique<Driven>(cpu_of(setting, worker), [&] { return subject.make(worker); }) : nullptr);
  const auto run_in_sandbox = [&] {
    const auto start = Clock::now();
    (void)run_well(slot, request_for({"/bin/true"}, core::default_limits()));
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  for (std::size_t block = 0; block < kBlocks; ++block)
    for (std::size_t index = 0; index < subjects.size(); ++index) {
      const auto count = subjects[index].per_block;
      double* into = board.samples(subjects[index], index, worker) + block * count;
      board.meet();
      const auto start = Clock::now();
      for (std::size_t step = 0; step < count; ++step) {
        if (setting.gap_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(setting.gap_ms));
        into[step] = driven[index] ? driven[index]->run() : run_in_sandbox();
      }
      board.meet();
      if (worker == 0) board.block_seconds(index, block) = std::chrono::duration<double>(Clock::now() - start).count();
    }
  // The last first: each has the ends of those before it open, and so would keep them waiting.
  while (!driven.empty()) driven.pop_back();
}

/// A worker that fails leaves the others at the barrier, so they are ended too. The launcher is a child as well, and must not end.
void await(const std::vector<pid_t>& workers) {
  for (std::size_t ended = 0; ended < workers.size(); ++ended) {
    int status = 0;
    const pid_t process = wait(&status);
    if (status == 0 && std::find(workers.begin(), workers.end(), process) != workers.end()) continue;
    for (const pid_t worker : workers)
      if (worker != process) (void)kill(worker, SIGKILL);
    give_up("a worker failed");
  }
}

}  // namespace

std::vector<Row> compare(const Setting& setting, const std::vector<Peer>& peers) {
  std::vector<std::string> pins;
  if (setting.is_pinned)
    for (unsigned worker = 0; worker < setting.at_once; ++worker) pins.push_back(std::to_string(cpu_of(setting, worker)));
  Rig rig(setting.at_once, pins);
  const auto subjects = all_subjects(setting, peers);
  Board board(setting.at_once, subjects);
  std::vector<pid_t> workers;
  for (unsigned worker = 0; worker < setting.at_once; ++worker) {
    const pid_t process = fork();
    if (process < 0) give_up("no process");
    if (process == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
      work(worker, setting, subjects, rig.slot(worker), board);
      _exit(0);
    }
    workers.push_back(process);
  }
  await(workers);
  std::vector<Row> rows;
  for (std::size_t index = 0; index < subjects.size(); ++index) {
    const Distribution samples(board.all_samples(subjects[index], index));
    const std::size_t steps = subjects[index].per_block * kBlocks * setting.at_once;
    double seconds = 0;
    for (std::size_t block = 0; block < kBlocks; ++block) seconds += board.block_seconds(index, block);
    const double bare_ms = rows.empty() ? samples.median() : rows.front().median_ms;
    rows.push_back(
        {subjects[index].name, steps, samples.median(), samples.p99(), static_cast<double>(steps) / seconds, samples.median() / bare_ms});
  }
  return rows;
}

}  // namespace bailiff::bench
