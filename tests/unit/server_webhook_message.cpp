// What a webhook is sent, and when it is sent again.
#include "server/webhook_message.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/webhook_schedule.h"
#include "server_api_fakes.h"

namespace bailiff::server {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using storage::WebhookState;

// The example of the specification's authors (https://docs.svix.com/receiving/verifying-payloads/how-manual), computed with Python as well.
TEST(WebhookMessage, IsSignedAsTheSpecificationSays) {
  const auto key = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  ASSERT_TRUE(key);
  EXPECT_EQ(webhook_signature(*key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  EXPECT_EQ(webhook_signature(*webhook_key("a secret of twenty-four bytes"), "01", 5, "{}"),
            "v1,RG/8I4i9mvqraAoWmgOh5GuXxiIa55wP3qbQXooOQsE=");
}

TEST(WebhookMessage, KeysOfSecrets) {
  EXPECT_EQ(webhook_key(std::string(24, 'k')), std::string(24, 'k'));
  EXPECT_EQ(webhook_key(std::string(75, 'k')), std::string(75, 'k'));
  EXPECT_EQ(webhook_key("whsec_" + core::base64_encode(std::string(24, '\0'))), std::string(24, '\0'));
  EXPECT_EQ(webhook_key("whsec_" + core::base64_encode(std::string(75, 'k'))), std::string(75, 'k'));
  for (const std::string& secret :
       {std::string(), std::string(23, 'k'), std::string(76, 'k'), std::string("whsec_"),
        "whsec_" + core::base64_encode(std::string(23, 'k')), "whsec_" + core::base64_encode(std::string(76, 'k')),
        "whsec_" + std::string(32, '*'), "whsec_" + std::string(33, 'k')}) {
    const auto key = webhook_key(secret);
    ASSERT_FALSE(key) << secret;
    EXPECT_FALSE(key.error().empty());
  }
}

TEST(WebhookMessage, ThePayloadHasTheJobAsItIsShown) {
  testing::FakeStore store;
  storage::StoredJob job;
  job.id = "01";
  job.request = R"({"language": "cpp", "image": "host", "image_digest": null, "request": {}})";
  job.created_us = 1'767'225'600'000'000;
  store.put(job);
  core::JobResult result;
  result.verdict = core::Verdict::ok;
  for (const std::size_t bytes : {std::size_t{5}, std::size_t{kWebhookOutputBytes}}) {
    core::StepResult step;
    step.name = "run";
    step.stdout_bytes = std::string(bytes, 'x');
    result.steps.push_back(std::move(step));
  }
  storage::Finish finish;
  finish.id = "01";
  put_result(finish, std::move(result));
  store.put_finish(std::move(finish));
  const auto payload = webhook_payload(*store.get("01"), store);
  ASSERT_TRUE(payload);
  const auto document = nlohmann::json::parse(*payload);
  EXPECT_EQ(document["type"], "job.finished");
  EXPECT_EQ(document["timestamp"], "2026-01-01T00:00:00.000002Z");
  const auto& shown = document["data"]["job"];
  EXPECT_EQ(shown["id"], "01");
  EXPECT_EQ(shown["state"], "finished");
  EXPECT_EQ(shown["verdict"], "ok");
  EXPECT_EQ(shown["steps"][0]["stdout"], "xxxxx");
  EXPECT_EQ(shown["steps"][1]["stdout"], nullptr) << "it does not fit any more";
}

TEST(WebhookSchedule, WhatComesAfterAnAnswer) {
  const WebhookSchedule schedule;
  const auto state = [&](unsigned status, int attempt = 1) { return schedule.after({status, "", {}, false}, attempt, 0).state; };
  for (const unsigned status : {200U, 201U, 204U, 299U}) EXPECT_EQ(state(status), WebhookState::delivered) << status;
  for (const unsigned status : {0U, 100U, 199U, 300U, 302U, 400U, 401U, 404U, 409U, 411U, 429U, 500U, 503U})
    EXPECT_EQ(state(status), WebhookState::pending) << status;
  EXPECT_EQ(state(410), WebhookState::failed);
  EXPECT_EQ(schedule.after({0, "refused", {}, true}, 1, 0).state, WebhookState::failed);
  EXPECT_EQ(state(500, 13), WebhookState::pending);
  EXPECT_EQ(state(500, 14), WebhookState::failed);
  EXPECT_EQ(state(200, 14), WebhookState::delivered);
}

TEST(WebhookSchedule, DelaysGrowThreefoldUpToTheLongestAndLastAboutADay) {
  const WebhookSchedule schedule;
  const auto delay = [&](int attempt, double random) { return schedule.after({500, "", {}, false}, attempt, random).delay; };
  EXPECT_EQ(delay(1, 0), seconds(5));
  EXPECT_EQ(delay(2, 0), seconds(15));
  EXPECT_EQ(delay(3, 0), seconds(45));
  EXPECT_EQ(delay(8, 0), seconds(10'935));
  EXPECT_EQ(delay(9, 0), hours(4));
  EXPECT_EQ(delay(13, 0), hours(4));
  EXPECT_EQ(delay(1, 0.5), milliseconds(4500));
  EXPECT_EQ(delay(9, 0.5), milliseconds(hours(4)) * 9 / 10);
  milliseconds least{0}, most{0};
  for (int attempt = 1; attempt < schedule.most_attempts; ++attempt) {
    most += delay(attempt, 0);
    least += delay(attempt, 0.999);
  }
  EXPECT_GT(least, hours(18));
  EXPECT_LT(most, hours(26));
  // Settings as odd as they may be.
  const WebhookSchedule odd{100, milliseconds(10), milliseconds(1)};
  for (int attempt = 1; attempt < 100; ++attempt) EXPECT_EQ(odd.after({500, "", {}, false}, attempt, 0.9).delay, milliseconds(1));
}

TEST(WebhookSchedule, RetryAfterIsRespectedUpToTheLongestDelay) {
  const WebhookSchedule schedule;
  const auto delay = [&](seconds asked) { return schedule.after({503, "", asked, false}, 1, 0).delay; };
  EXPECT_EQ(delay(seconds(0)), seconds(5));
  EXPECT_EQ(delay(seconds(60)), seconds(60));
  EXPECT_EQ(delay(hours(24)), hours(4));
}

TEST(WebhookSchedule, RetryAfterHeaders) {
  EXPECT_EQ(parse_retry_after("120", 0), seconds(120));
  EXPECT_EQ(parse_retry_after("0", 0), seconds(0));
  EXPECT_EQ(parse_retry_after("-5", 0), seconds(0));
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 2026 00:01:00 GMT", 1'767'225'600), seconds(60));
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 2026 00:00:00 GMT", 1'767'225'700), seconds(0));
  EXPECT_EQ(parse_retry_after("9223372036854775807", 0), hours(24 * 366));
  for (const char* text :
       {"", "soon", "1.5", "99999999999999999999", "12x", "Thu, 01 Jan 2026 00:01:00", "Thu, 01 Jan 2026 00:01:00 GMT x"})
    EXPECT_EQ(parse_retry_after(text, 0), std::nullopt) << text;
}

}  // namespace
}  // namespace bailiff::server
