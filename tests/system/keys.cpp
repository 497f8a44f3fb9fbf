// API keys on a real server: the first key from outside, who is let in, fair turns, a bound on running jobs, a restart.
#include <sys/wait.h>

#include <cstdio>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {
namespace {

using Headers = std::vector<std::string>;

class KeyTest : public SystemTest {
 protected:
  static Headers with(const std::string& key) { return {"Authorization: Bearer " + key}; }
  std::string make(const Json& wish, const std::string& by, std::string* id = nullptr) {
    const auto answer = http().post("/v1/keys", wish, with(by));
    EXPECT_EQ(answer.status, 201) << answer.body;
    if (id != nullptr) *id = answer.json().at("id");
    return answer.json().at("key");
  }
  Json submit(const std::string& key, const Json& command, Headers more = {}) {
    auto headers = with(key);
    headers.insert(headers.end(), more.begin(), more.end());
    const auto answer = http().post("/v1/jobs", {{"image", "host"}, {"steps", {{{"command", command}}}}}, headers);
    EXPECT_TRUE(answer.status == 200 || answer.status == 202) << answer.body;
    return answer.json();
  }
  Json get(const std::string& path, const std::string& key) { return http().get(path, with(key)).json(); }
};

TEST_F(KeyTest, KeysOutliveTheServer) {
  start();
  const auto root = make({{"name", "root"}, {"scopes", {"admin"}}}, "none");
  std::string id;
  const auto user = make({{"name", "user"}, {"scopes", {"submit", "read"}}}, root, &id);
  const auto revoked = make({{"name", "gone"}, {"scopes", {"read"}}}, root);
  const auto listed = get("/v1/keys", root).at("items");
  EXPECT_EQ(http().remove("/v1/keys/" + listed.at(2).at("id").get<std::string>(), with(root)).status, 204);
  const auto job = submit(user, {"true"}, {"Prefer: wait=30"});
  EXPECT_EQ(job.at("verdict"), "ok");
  EXPECT_EQ(job.at("owner"), id);
  stop();
  start();
  EXPECT_EQ(http().get("/v1/jobs").status, 401);
  EXPECT_EQ(http().get("/v1/jobs", with(revoked)).status, 401);
  EXPECT_EQ(http().get("/v1/jobs/" + job.at("id").get<std::string>(), with(user)).status, 200);
  EXPECT_EQ(get("/v1/jobs", user).at("items").size(), 1U);
  for (const auto& text : {root, user, revoked}) EXPECT_EQ(log_text().find(text), std::string::npos) << "a key is in the log";
  EXPECT_NE(log_text().find("key.revoke"), std::string::npos);
}

/// What a command prints, without its last line feed; its status after a space where that is not 0.
std::string shell(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "re");
  char piece[256];
  while (std::fgets(piece, sizeof piece, pipe) != nullptr) text += piece;
  if (text.ends_with('\n')) text.pop_back();
  if (const int status = ::pclose(pipe); status != 0) text += " " + std::to_string(WEXITSTATUS(status));
  return text;
}

// Nobody listens where others can reach it without a key; the first one is made without a server.
TEST_F(KeyTest, TheFirstKeyOpensTheServerToOthers) {
  {
    const ServerProcess refused(data(), data() + "-log", "bailiff-keys", {"--listen", "0.0.0.0:0"});
    EXPECT_FALSE(refused.listening());
  }
  const std::string create = BAILIFF_PATH " key create root --data " + data() + " --scope ";
  EXPECT_EQ(shell(create + "read 2>/dev/null"), " 64") << "the first one must be an administrator's";
  const auto key = shell(create + "admin 2>/dev/null");
  ASSERT_TRUE(key.starts_with("bailiff_")) << key;
  start({"--slots", "1", "--listen", "0.0.0.0:0"});
  EXPECT_EQ(http().get("/v1/jobs").status, 401);
  EXPECT_EQ(http().get("/v1/jobs", with(key)).status, 200);
  EXPECT_EQ(shell(create + "admin 2>/dev/null"), " 69") << "a server that runs makes keys itself";
  const std::string client = "BAILIFF_API_KEY=" + key + " BAILIFF_SERVER=" + http().url() + " " BAILIFF_PATH;
  const auto second = shell(client + " key create user 2>/dev/null");
  EXPECT_EQ(submit(second, {"true"}, {"Prefer: wait=30"}).at("verdict"), "ok");
  const auto id = second.substr(8, 16);
  EXPECT_NE(shell(client + " key list").find(id), std::string::npos);
  EXPECT_NE(shell(client + " top -i 0.1").find("waiting of"), std::string::npos);
  EXPECT_EQ(shell(client + " key revoke " + id + " 2>/dev/null"), "");
  EXPECT_EQ(http().get("/v1/jobs", with(second)).status, 401);
}

// One key has the queue full of work; another's first job does not wait for it.
TEST_F(KeyTest, AFullQueueOfOneIsNotAnothersWait) {
  start();
  const auto root = make({{"name", "root"}, {"scopes", {"admin"}}}, "none");
  const auto busy = make({{"name", "busy"}, {"scopes", {"submit", "read"}}}, root);
  const auto late = make({{"name", "late"}, {"scopes", {"submit", "read"}}}, root);
  Json batch = {{"jobs", Json::array()}};
  for (int i = 0; i < 200; ++i)
    batch["jobs"].push_back({{"image", "host"}, {"steps", {{{"command", {"sleep", "0.1"}}}}}, {"priority", 10}});
  ASSERT_EQ(http().post("/v1/jobs:batch", batch, with(busy)).status, 200);
  const auto job = submit(late, {"true"}, {"Prefer: wait=60"});
  EXPECT_EQ(job.at("verdict"), "ok");
  const auto waiting = http().get("/v1/jobs?state=queued&limit=200", with(busy)).json().at("items").size();
  EXPECT_GT(waiting, 100U) << "it was served after the others";
}

TEST_F(KeyTest, BytesAndCpuTimeOfAKeyAreBounded) {
  start();
  const auto root = make({{"name", "root"}, {"scopes", {"admin"}}}, "none");
  const Json scopes = {"submit", "read"};
  const auto small = make({{"name", "small"}, {"scopes", scopes}, {"max_stored_bytes", 20'000}}, root);
  const auto brief = make({{"name", "brief"}, {"scopes", scopes}, {"max_cpu_ms_per_hour", 10}}, root);
  const Json request = {{"image", "host"}, {"steps", {{{"command", {"true"}}}}}};
  const auto create = [&](const std::string& key) { return http().post("/v1/jobs", request, with(key)); };
  const auto kept = submit(small, {"head", "-c", "20000", "/dev/zero"}, {"Prefer: wait=30"});
  const auto refused = create(small);
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_NE(refused.body.find("bytes"), std::string::npos) << refused.body;
  EXPECT_EQ(http().post("/v1/jobs:batch", {{"jobs", {request}}}, with(small)).json().at("items").at(0).at("status"), 429);
  EXPECT_EQ(http().post_bytes("/v1/blobs", "bytes", with(small)).status, 429);
  EXPECT_GT(get("/v1/keys/self", small).at("key").at("stored_bytes"), 20'000);
  EXPECT_EQ(http().remove("/v1/jobs/" + kept.at("id").get<std::string>(), with(small)).status, 204);
  EXPECT_EQ(create(small).status, 202);

  submit(brief, {"sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"}, {"Prefer: wait=30"});
  const auto used = get("/v1/keys/self", brief).at("key").at("cpu_ms_this_hour").get<double>();
  // The hour of the clock may have changed in between.
  if (used >= 10) EXPECT_EQ(create(brief).status, 429);
  else EXPECT_EQ(create(brief).status, 202) << used;
}

TEST_F(KeyTest, BoundsOfAKeyHold) {
  start();
  const auto root = make({{"name", "root"}, {"scopes", {"admin"}}}, "none");
  const auto few = make({{"name", "few"}, {"scopes", {"submit", "read"}}, {"max_running_jobs", 1}, {"max_queued_jobs", 3}}, root);
  const auto first = submit(few, {"sleep", "100"});
  ASSERT_TRUE(eventually([&] { return get("/v1/jobs?state=running", few).at("items").size() == 1; }));
  for (int i = 0; i < 3; ++i) submit(few, {"sleep", "100"});
  const Json request = {{"image", "host"}, {"steps", {{{"command", {"true"}}}}}};
  const auto refused = http().post("/v1/jobs", request, with(few));
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(http().post("/v1/jobs:batch", {{"jobs", {request}}}, with(few)).json().at("items").at(0).at("status"), 429);
  EXPECT_EQ(submit(root, {"true"}, {"Prefer: wait=30"}).at("verdict"), "ok") << "the other slot is another key's";
  EXPECT_EQ(get("/v1/jobs?state=running", few).at("items").size(), 1U);
  EXPECT_EQ(get("/v1/jobs?state=queued", few).at("items").size(), 3U);
  // The next one starts when the first ends.
  EXPECT_EQ(http().post("/v1/jobs/" + first.at("id").get<std::string>() + ":cancel", Json(), with(few)).status / 100, 2);
  EXPECT_TRUE(eventually([&] {
    const auto running = get("/v1/jobs?state=running", few).at("items");
    return running.size() == 1 && running.at(0).at("id") != first.at("id");
  }));
  const auto queued = get("/v1/jobs?state=queued", few).at("items");
  ASSERT_EQ(queued.size(), 2U);
  // A place in the queue is free again, once for each that is cancelled in it.
  EXPECT_EQ(http().post("/v1/jobs/" + queued.at(0).at("id").get<std::string>() + ":cancel", Json(), with(few)).status, 200);
  submit(few, {"sleep", "100"});
  submit(few, {"sleep", "100"});
  EXPECT_EQ(http().post("/v1/jobs", request, with(few)).status, 429);
  const auto all = get("/v1/jobs?limit=200", few).at("items");
  for (const auto& job : all)
    EXPECT_EQ(http().post("/v1/jobs/" + job.at("id").get<std::string>() + ":cancel", Json(), with(few)).status / 100, 2);
}

}  // namespace
}  // namespace bailiff::system_tests
