// Durable jobs a second through the store, as bailiffd uses it: one thread posts for all clients and is told of each answer.
//   bench_storage [DIR] [ROUNDS]     DIR must be on the disk to be measured (default /tmp); medians over ROUNDS (default 5)
// A disk's flush time may differ by tens of times from one minute to the next, so each round also measures the floor: one bare
// append + fdatasync, which is the least that a durable answer to a lone client costs. Compare p50 with it, not with another run.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/id.h"
#include "storage/store.h"

namespace {

using bailiff::core::Result;
using bailiff::storage::ClaimedJob;
using bailiff::storage::Finish;
using bailiff::storage::NewJob;
using bailiff::storage::Store;
using bailiff::storage::Stream;
using bailiff::storage::Submitted;
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_storage: %s\n", what.c_str());
  std::exit(1);
}

/// What the writer's callbacks hand to the one thread that posts.
template <class T>
class Answers {
 public:
  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    arrived_.notify_one();
  }
  T take() {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, std::chrono::seconds(60), [this] { return !values_.empty(); })) fail("no answer in 60 s");
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<T> values_;
};

double median(std::vector<double> values, double quantile = 0.5) {
  const auto at = static_cast<std::ptrdiff_t>(quantile * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + at);
  return values[static_cast<std::size_t>(at)];
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Median of a bare append of a small transaction's pages + fdatasync.
double flush_ms(const std::filesystem::path& directory) {
  const auto path = directory / ("bench_storage-" + bailiff::core::new_job_id() + ".floor");
  const bailiff::core::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) fail("cannot open " + path.string());
  const std::string pages(20'000, 'x');
  std::vector<double> times_ms;
  for (int i = 0; i < 100; ++i) {
    const auto start = Clock::now();
    if (::write(file.get(), pages.data(), pages.size()) != static_cast<ssize_t>(pages.size()) || ::fdatasync(file.get()) != 0)
      fail("cannot write " + path.string());
    times_ms.push_back(seconds_since(start) * 1e3);
  }
  std::filesystem::remove(path);
  return median(times_ms);
}

struct Figures {
  double submits_per_s, submit_p50_ms, submit_p99_ms, runs_per_s;
};

// `clients` clients, each with one submit under way at a time.
void measure_submits(Store& store, int clients, int jobs, Figures& figures) {
  Answers<int> answers;
  std::vector<Clock::time_point> since(static_cast<std::size_t>(clients));
  std::vector<double> latencies_ms;
  const auto post = [&](int client) {
    NewJob job;
    job.id = bailiff::core::new_job_id();
    job.created_us = 1;
    job.request = std::string(600, 'x');
    since[static_cast<std::size_t>(client)] = Clock::now();
    store.submit(std::move(job), [&answers, client](const Result<Submitted>& submitted) {
      if (!submitted) fail(submitted.error().what);
      answers.put(client);
    });
  };
  const auto start = Clock::now();
  int posted = 0;
  for (; posted < clients; ++posted) post(posted);
  for (int done = 0; done < jobs; ++done) {
    const int client = answers.take();
    latencies_ms.push_back(seconds_since(since[static_cast<std::size_t>(client)]) * 1e3);
    if (posted < jobs) ++posted, post(client);
  }
  figures.submits_per_s = jobs / seconds_since(start);
  figures.submit_p50_ms = median(latencies_ms);
  figures.submit_p99_ms = median(latencies_ms, 0.99);
}

// `workers` workers, each of which claims a job and ends it with two outputs, until all are done.
void measure_runs(Store& store, int workers, int jobs, Figures& figures) {
  struct Answer {
    std::string claimed;  // empty: a job has ended
    int attempt = 0;
  };
  Answers<Answer> answers;
  const auto claim = [&] {
    bailiff::storage::PickOwner first = [](const auto& owners) { return std::optional(owners.front()); };
    store.claim(2, std::move(first), [&answers](const Result<std::optional<ClaimedJob>>& job) {
      if (!job || !*job) fail(job ? "the queue is empty" : job.error().what);
      answers.put({(*job)->id, (*job)->attempt});
    });
  };
  const auto start = Clock::now();
  int claims = 0;
  for (; claims < workers; ++claims) claim();
  for (int done = 0; done < jobs;) {
    const Answer answer = answers.take();
    if (answer.claimed.empty()) {
      ++done;
      if (claims < jobs) ++claims, claim();
      continue;
    }
    Finish end{answer.claimed, answer.attempt, bailiff::core::Verdict::ok, "", std::string(500, 'r'), {}, 3};
    end.outputs = {{0, Stream::stdout_stream, std::string(100, 'o')}, {0, Stream::stderr_stream, ""}};
    store.finish(std::move(end), [&answers](const bailiff::core::Status& ended) {
      if (!ended) fail(ended.error().what);
      answers.put({});
    });
  }
  figures.runs_per_s = jobs / seconds_since(start);
}

Figures measure(const std::filesystem::path& directory, int clients) {
  const auto path = directory / ("bench_storage-" + bailiff::core::new_job_id() + ".db");
  bailiff::storage::Options options;
  options.path = path;
  auto store = Store::open(options);
  if (!store) fail(store.error().what);
  const int jobs = std::clamp(clients * 200, 400, 10'000);
  Figures figures{};
  measure_submits(**store, clients, jobs, figures);
  measure_runs(**store, clients, jobs, figures);
  store->reset();
  for (const char* suffix : {"", ".lock", "-wal", "-shm"}) std::filesystem::remove(path.string() + suffix);
  return figures;
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path directory = argc > 1 ? argv[1] : "/tmp";
  const int rounds = argc > 2 ? std::max(std::atoi(argv[2]), 1) : 5;
  std::printf("%8s %12s %12s %12s %12s %16s\n", "clients", "floor ms", "submits/s", "p50 ms", "p99 ms", "claim+finish/s");
  for (const int clients : {1, 8, 64, 256}) {
    std::vector<double> floor, submits, p50, p99, runs;
    for (int round = 0; round < rounds; ++round) {
      floor.push_back(flush_ms(directory));
      const Figures figures = measure(directory, clients);
      submits.push_back(figures.submits_per_s);
      p50.push_back(figures.submit_p50_ms);
      p99.push_back(figures.submit_p99_ms);
      runs.push_back(figures.runs_per_s);
    }
    std::printf("%8d %12.3f %12.0f %12.3f %12.3f %16.0f\n", clients, median(floor), median(submits), median(p50), median(p99),
                median(runs));
  }
  return 0;
}
