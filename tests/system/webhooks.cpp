// Webhooks from the real bailiffd, without privileges, to a receiver on loopback; whatever is killed and when.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/system/server_process.h"
#include "tests/unit/server_webhook_receiver.h"

namespace bailiff::system_tests {
namespace {

using server::testing::Received;
using server::testing::SelfSigned;
using server::testing::WebhookReceiver;

constexpr const char* kSecret = "0f3a-not-to-be-shown-anywhere";
const std::string kTaken = WebhookReceiver::status("200 OK");

class WebhookTest : public SystemTest {
 protected:
  static std::vector<std::string> open_to_loopback(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"--slots", "1", "--webhook-allow-private", "--webhook-allow-http"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  static Json with_webhook(Json request, const std::string& url) {
    request["webhook"] = {{"url", url}, {"secret", kSecret}};
    return request;
  }
  Json webhook(const std::string& id) { return http().get("/v1/jobs/" + id + "/webhook").json(); }
  bool ends_as(const std::string& id, const std::string& state) {
    const bool ended = eventually([&] { return webhook(id).value("state", "") == state; });
    EXPECT_TRUE(ended) << webhook(id).dump(2);
    return ended;
  }
};

TEST_F(WebhookTest, EveryEndIsToldAndTheSecretIsNot) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? WebhookReceiver::status("500 No") : kTaken; });
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback({"--webhook-first-retry-ms", "10"})));
  const auto first = submit(with_webhook(command({"echo", "hello"}), receiver.url()));
  ASSERT_TRUE(ends_as(first, "delivered"));
  EXPECT_EQ(webhook(first).at("attempts"), 2);
  const auto slow = submit(with_webhook(command({"sleep", "60"}, {{"wall_time_ms", 100'000}}), receiver.url()));
  ASSERT_TRUE(eventually([&]() { return state_of(slow) == "running"; }));
  const auto batch = http().post("/v1/jobs:batch", {{"jobs", {with_webhook(command({"true"}), receiver.url())}}});
  ASSERT_EQ(batch.status, 200) << batch.body;
  const std::string queued = batch.json().at("items").at(0).at("job").at("id");
  for (const auto& id : {queued, slow}) {
    EXPECT_LT(http().post("/v1/jobs/" + id + ":cancel", nullptr).status, 300);
    EXPECT_TRUE(ends_as(id, "delivered"));
  }
  const auto told = receiver.received();
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[0].body, told[1].body);
  std::map<std::string, Json> jobs;
  for (const auto& message : told) jobs[message.headers.at("webhook-id")] = Json::parse(message.body).at("data").at("job");
  EXPECT_EQ(jobs.at(first), http().get("/v1/jobs/" + first).json());
  EXPECT_EQ(jobs.at(first).at("steps").at(0).at("stdout"), "hello\n");
  EXPECT_EQ(jobs.at(queued).at("verdict"), "cancelled");
  EXPECT_EQ(jobs.at(slow).at("verdict"), "cancelled");
  for (const auto* path : {"", "/request", "/webhook", "/events"})
    EXPECT_EQ(http().get("/v1/jobs/" + first + path).body.find(kSecret), std::string::npos) << path;
  const auto metrics = http().get("/metrics").body;
  EXPECT_NE(metrics.find("bailiff_webhook_attempts_total{outcome=\"delivered\"} 3\n"), std::string::npos);
  EXPECT_NE(metrics.find("bailiff_webhooks_pending 0\n"), std::string::npos);
  EXPECT_EQ(log_text().find(kSecret), std::string::npos);
  EXPECT_EQ(log_text().find("/hook"), std::string::npos) << "a path or a query may be a secret too";
}

TEST_F(WebhookTest, WhatAKilledServerDidNotDeliverTheNextOneDoes) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? std::string() : kTaken; });
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback()));
  const auto id = submit(with_webhook(command({"true"}), receiver.url()));
  ASSERT_EQ(receiver.wait_for(1).size(), 1U);
  EXPECT_EQ(state_of(id), "finished");
  EXPECT_EQ(webhook(id).at("attempts"), 0);
  remember_processes();
  server_->signal(SIGKILL);
  EXPECT_EQ(server_->wait_for_end(), 128 + SIGKILL);
  server_.reset();
  expect_nothing_left();

  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback()));
  ASSERT_TRUE(ends_as(id, "delivered"));
  EXPECT_EQ(webhook(id).at("attempts"), 1);
  const auto told = receiver.received();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].headers.at("webhook-id"), id);
  EXPECT_EQ(told[1].headers.at("webhook-id"), id);
  EXPECT_EQ(told[0].body, told[1].body);
}

TEST_F(WebhookTest, AReceiverThatDoesNotAnswerHoldsNoServerBack) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? std::string() : kTaken; });
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback({"--webhook-timeout-ms", "300000"})));
  const auto id = submit(with_webhook(command({"true"}), receiver.url()));
  ASSERT_EQ(receiver.wait_for(1).size(), 1U);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_NO_FATAL_FAILURE(stop());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(log_text().find("something still waited"), std::string::npos);
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback()));
  EXPECT_TRUE(ends_as(id, "delivered"));
}

TEST_F(WebhookTest, NothingPrivateIsReachedUnlessItIsAllowed) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  ASSERT_NO_FATAL_FAILURE(start({"--slots", "1", "--webhook-allow-http"}));
  const auto refused = http().post("/v1/jobs", with_webhook(command({"true"}), receiver.url()));
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(refused.json().at("errors").at(0).at("pointer"), "/webhook/url");
  EXPECT_EQ(refused.body.find(kSecret), std::string::npos);
  EXPECT_TRUE(receiver.received().empty());
}

TEST_F(WebhookTest, ACertificateMustBeTrusted) {
  const SelfSigned identity("IP:127.0.0.1");
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; }, &identity);
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback({"--webhook-max-attempts", "1"})));
  const auto first = submit(with_webhook(command({"true"}), receiver.url()));
  ASSERT_TRUE(ends_as(first, "failed"));
  EXPECT_NE(webhook(first).at("last_error").get<std::string>().find("self-signed"), std::string::npos) << webhook(first).dump(2);
  EXPECT_TRUE(receiver.received().empty());
  stop();
  const auto ca_file = std::filesystem::path(::testing::TempDir()) / ("bailiff-ca-" + std::to_string(::getpid()) + ".pem");
  std::ofstream(ca_file) << identity.certificate;
  ASSERT_NO_FATAL_FAILURE(start(open_to_loopback({"--webhook-ca-file", ca_file.string()})));
  EXPECT_TRUE(ends_as(submit(with_webhook(command({"true"}), receiver.url())), "delivered"));
  std::filesystem::remove(ca_file);
}

}  // namespace
}  // namespace bailiff::system_tests
