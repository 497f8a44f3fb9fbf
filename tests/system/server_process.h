#pragma once
// The real bailiffd on a free port with a data directory of its own, and the proof afterwards that it left nothing on the host.
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/system/host_census.h"
#include "tests/system/http_client.h"

namespace bailiff::system_tests {

using Json = nlohmann::json;

/// Asks again, every few milliseconds, until it is true. False when the time is over.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds at_most = std::chrono::seconds(30));

/// One run of bailiffd. Its destructor ends it the hard way if nobody did before.
class ServerProcess {
 public:
  /// `arguments` come after --data, --cgroup-parent and, where they have none, --listen. Waits for the line that tells the port.
  ServerProcess(const std::string& data, const std::string& log, const std::string& cgroup, const std::vector<std::string>& arguments);
  ServerProcess(const ServerProcess&) = delete;
  ~ServerProcess();

  [[nodiscard]] bool listening() const { return !url_.empty(); }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] pid_t launcher() const;
  void signal(int number) const;
  /// The exit code, 128 + signal where one ended it; nothing when the time is over.
  std::optional<int> wait_for_end(std::chrono::milliseconds at_most = std::chrono::seconds(60));

 private:
  pid_t pid_ = -1;
  std::string url_;
};

class SystemTest : public ::testing::Test {
 protected:
  void SetUp() override;
  /// Ends the server (SIGTERM, must exit 0) and proves that no process, cgroup or mount of it is left.
  void TearDown() override;

  void start(const std::vector<std::string>& arguments = {"--slots", "2"});
  /// SIGTERM and the proof that everything below is gone.
  void stop();
  /// Everything of the server's is gone: processes (those remembered by remember_processes), cgroups, mounts.
  void expect_nothing_left();
  void remember_processes();
  [[nodiscard]] std::string log_text() const;
  /// The server's data directory.
  [[nodiscard]] std::string data() const { return directory_ + "/data"; }

  [[nodiscard]] HttpClient http() const { return HttpClient(server_->url()); }
  /// POST /v1/jobs without waiting: the id.
  std::string submit(const Json& request);
  /// The finished job.
  Json wait(const std::string& id);
  Json run(const Json& request) { return wait(submit(request)); }
  std::string state_of(const std::string& id) { return http().get("/v1/jobs/" + id).json().value("state", "unknown"); }
  bool has_language(const std::string& name);
  static Json language(const std::string& name, const std::string& source, Json limits = Json::object()) {
    return {{"language", name}, {"source", source}, {"limits", std::move(limits)}};
  }
  static Json command(const std::vector<std::string>& argv, Json limits = Json::object()) {
    return {{"image", "host"}, {"steps", {{{"name", "it"}, {"command", argv}, {"limits", std::move(limits)}}}}};
  }

  std::optional<ServerProcess> server_;

 private:
  std::string directory_, cgroup_;
  std::set<std::string> mounts_before_;
  std::set<ProcessId> processes_;
};

}  // namespace bailiff::system_tests
