// After thousands of jobs the host is as it was.
#include <atomic>
#include <thread>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

constexpr int kJobs = 2000, kClients = 8;

class EnduranceTest : public SystemTest {
 protected:
  struct Counts {
    std::size_t processes, cgroups, mounts, descriptors;
    bool operator==(const Counts&) const = default;
  };
  Counts count() {
    return {processes_below(server_->pid()).size(), cgroups_named("bailiff-system-test").size(), mounts().size(),
            open_descriptors(server_->pid())};
  }
  /// `number` jobs from as many clients as there are, each waiting for its answer. How many ended otherwise than they should.
  int run_jobs(int number) {
    std::atomic<int> next = 0, wrong = 0;
    const auto client = [&]() {
      for (int i = next++; i < number; i = next++) {
        const auto text = std::to_string(i);
        const bool fails = i % 7 == 0;
        const auto answer = http().post(
            "/v1/jobs", command({"sh", "-c", "echo " + text + " > f; cat f" + (fails ? "; kill -SEGV $$" : "")}), {"Prefer: wait=60"});
        const auto job = answer.json();
        const bool finished = answer.status == 200 && job.is_object() && job.value("steps", Json::array()).size() == 1;
        const bool right =
            finished && job.at("verdict") == (fails ? "runtime_error" : "ok") && job.at("steps").at(0).at("stdout") == text + "\n";
        if (!right) ++wrong;
      }
    };
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) clients.emplace_back(client);
    for (auto& thread : clients) thread.join();
    return wrong;
  }
};

TEST_F(EnduranceTest, TwoThousandJobsLeaveTheHostAsItWas) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(run_jobs(64), 0);  // pools and caches fill up
  Counts before{}, after{};
  // Connections of the clients' threads close, and slots prepare their next sandbox, a moment after the last answer.
  const auto settled = [&](Counts& counts) {
    constexpr int kEqualInARow = 15;
    return eventually([&, equal = 0]() mutable {
      const auto now = count();
      equal = now == counts ? equal + 1 : 0;
      counts = now;
      return equal == kEqualInARow;
    });
  };
  ASSERT_TRUE(settled(before));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run_jobs(kJobs), 0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("jobs_per_second", static_cast<int>(kJobs / took.count()));
  std::printf("%d jobs in %.1f s\n", kJobs, took.count());
  EXPECT_TRUE(eventually([&]() { return (after = count()) == before; }, std::chrono::seconds(10)));
  EXPECT_EQ(after.processes, before.processes);
  EXPECT_EQ(after.cgroups, before.cgroups);
  EXPECT_EQ(after.mounts, before.mounts);
  EXPECT_EQ(after.descriptors, before.descriptors);
}

}  // namespace
}  // namespace bailiff::system_tests
