// Deliveries to a receiver on loopback, from a real store.
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "server/webhook_deliverer.h"
#include "server/webhook_message.h"
#include "server_webhook_receiver.h"

namespace bailiff::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using storage::WebhookState;
using testing::Received;
using testing::SelfSigned;
using testing::WebhookReceiver;

constexpr const char* kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const std::string kRefused = WebhookReceiver::status("500 No");
const std::string kTaken = WebhookReceiver::status("200 OK");

class WebhookDelivery : public ::testing::Test {
 protected:
  WebhookDelivery() {
    storage::Options options;
    options.path = ":memory:";
    options.on_webhook_due = [this] {
      boost::asio::post(io_, [this] {
        if (deliverer_) deliverer_->wake();
      });
    };
    store_ = std::move(*storage::Store::open(options));
    options_.rules = {true, true};
    options_.attempt_time = seconds(20);
    options_.schedule = {4, milliseconds(1), milliseconds(10)};
  }
  ~WebhookDelivery() override {
    stop();
    store_->close();
  }
  void start(const std::string& ca_file = "") {
    auto client = WebhookClient::make(io_, ca_file, options_.rules);
    ASSERT_TRUE(client) << client.error().what;
    client_ = std::move(*client);
    deliverer_.emplace(io_, *store_, threads_, metrics_, *client_, options_);
    deliverer_->start();
  }
  /// Cuts short what is under way at once.
  void stop(milliseconds grace = milliseconds(0)) {
    if (!deliverer_) return;
    bool drained = false;
    const auto drain = [&]() -> boost::asio::awaitable<void> {
      co_await deliverer_->drain(steady_clock::now() + grace);
      drained = true;
    };
    boost::asio::co_spawn(io_, drain(), boost::asio::detached);
    EXPECT_TRUE(reaches([&] { return drained; }));
    deliverer_.reset();
    client_.reset();
  }
  template <class Condition>
  bool reaches(Condition condition) {
    for (const auto end = steady_clock::now() + seconds(30); steady_clock::now() < end;) {
      if (condition()) return true;
      io_.run_for(milliseconds(5));
      io_.restart();
    }
    return false;
  }
  template <class T, class Post>
  core::Result<T> answer(Post post) {
    auto promise = std::make_shared<std::promise<core::Result<T>>>();
    auto future = promise->get_future();
    post([promise](core::Result<T> result) { promise->set_value(std::move(result)); });
    return future.get();
  }
  void submit(const std::string& id, const std::string& url, const std::string& origin = "") {
    storage::NewJob job;
    job.id = id;
    job.created_us = core::unix_us();
    job.request = R"({"language": "cpp", "image": "host", "image_digest": null,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "request": {}})";
    job.webhook = storage::Webhook{url, kSecret, origin.empty() ? url : origin};
    EXPECT_TRUE(answer<storage::Submitted>([&](auto done) { store_->submit(job, std::move(done)); }));
  }
  void end(const std::string& id) {
    const auto first = [](const auto& owners) { return std::optional(owners.front()); };
    const auto claimed =
        answer<std::optional<storage::ClaimedJob>>([&](auto done) { store_->claim(core::unix_us(), first, std::move(done)); });
    ASSERT_TRUE(claimed && *claimed && (*claimed)->id == id);
    storage::Finish finish;
    finish.id = id;
    finish.attempt = (*claimed)->attempt;
    finish.verdict = core::Verdict::ok;
    finish.result = "{}";
    finish.finished_us = core::unix_us();
    EXPECT_TRUE(answer<void>([&](auto done) { store_->finish(finish, std::move(done)); }));
  }
  void submit_and_end(const std::string& id, const std::string& url, const std::string& origin = "") {
    submit(id, url, origin);
    end(id);
  }
  storage::StoredWebhook webhook(const std::string& id) {
    const auto found = store_->webhook(id);
    EXPECT_TRUE(found);
    return found ? *found : storage::StoredWebhook{};
  }
  bool ends_as(const std::string& id, WebhookState state) {
    const bool ended = reaches([&] { return webhook(id).state != WebhookState::pending; });
    EXPECT_EQ(webhook(id).state, state) << webhook(id).last_error;
    return ended;
  }
  bool has_metric(const std::string& line) { return metrics_.text({}).find(line) != std::string::npos; }
  /// A file of the test's own, gone with it.
  std::string file(const std::string& text) {
    const auto path = std::filesystem::path(::testing::TempDir()) / ("bailiff-webhook-" + std::to_string(::getpid()) + ".pem");
    std::ofstream(path) << text;
    return path.string();
  }

  boost::asio::io_context io_{1};
  std::unique_ptr<storage::Store> store_;
  boost::asio::thread_pool threads_{1};
  Metrics metrics_;
  WebhookDeliverer::Options options_;
  std::unique_ptr<WebhookClient> client_;
  std::optional<WebhookDeliverer> deliverer_;
};

TEST_F(WebhookDelivery, AReceiverIsToldOnceAndCanCheckWhoTellsIt) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  start();
  submit("01", receiver.url());
  EXPECT_FALSE(webhook("01").due_us);
  const auto before = core::unix_us() / 1'000'000;
  end("01");
  ASSERT_TRUE(ends_as("01", WebhookState::delivered));
  stop(seconds(20));
  const auto all = receiver.received();
  ASSERT_EQ(all.size(), 1U);
  const auto& message = all[0];
  EXPECT_EQ(message.method, "POST");
  EXPECT_EQ(message.target, "/hook?a=b");
  EXPECT_EQ(message.headers.at("content-type"), "application/json");
  EXPECT_EQ(message.headers.at("user-agent"), "bailiff/" BAILIFF_VERSION);
  EXPECT_EQ(message.headers.at("host"), receiver.url().substr(7, receiver.url().find("/hook") - 7));
  EXPECT_EQ(message.headers.at("webhook-id"), "01");
  const auto trace = message.headers.at("traceparent");
  EXPECT_TRUE(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !trace.contains("b7ad6b7169203331")) << trace;
  const auto time = std::stoll(message.headers.at("webhook-timestamp"));
  EXPECT_GE(time, before);
  EXPECT_LE(time, core::unix_us() / 1'000'000);
  EXPECT_EQ(message.headers.at("webhook-signature"), webhook_signature(*webhook_key(kSecret), "01", time, message.body));
  const auto document = nlohmann::json::parse(message.body);
  EXPECT_EQ(document["type"], "job.finished");
  EXPECT_EQ(document["data"]["job"]["id"], "01");
  EXPECT_EQ(document["data"]["job"]["verdict"], "ok");
  EXPECT_EQ(message.body.find(kSecret), std::string::npos);
  const auto told = webhook("01");
  EXPECT_EQ(told.attempts, 1);
  EXPECT_EQ(told.last_status, 200);
  EXPECT_EQ(told.last_error, "");
  EXPECT_TRUE(told.attempted_us);
  EXPECT_FALSE(told.due_us);
  EXPECT_TRUE(has_metric("bailiff_webhook_attempts_total{outcome=\"delivered\"} 1\n"));
}

TEST_F(WebhookDelivery, ARefusalIsTriedAgainWithTheSameIdAndANewSignature) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number < 2 ? kRefused : kTaken; });
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(ends_as("01", WebhookState::delivered));
  const auto all = receiver.received();
  ASSERT_EQ(all.size(), 3U);
  for (const auto& message : all) {
    EXPECT_EQ(message.headers.at("webhook-id"), "01");
    EXPECT_EQ(message.body, all[0].body);
    EXPECT_EQ(message.headers.at("webhook-signature"),
              webhook_signature(*webhook_key(kSecret), "01", std::stoll(message.headers.at("webhook-timestamp")), message.body));
  }
  EXPECT_EQ(webhook("01").attempts, 3);
  EXPECT_TRUE(has_metric("bailiff_webhook_attempts_total{outcome=\"pending\"} 2\n"));
}

TEST_F(WebhookDelivery, TheNextAttemptIsSeenWhileItIsWaitedFor) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return WebhookReceiver::status("503 Later", "Retry-After: 3600\r\n"); });
  options_.schedule = {4, seconds(1), std::chrono::hours(4)};
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(reaches([&] { return webhook("01").attempts == 1; }));
  const auto seen = webhook("01");
  EXPECT_EQ(seen.state, WebhookState::pending);
  EXPECT_EQ(seen.last_status, 503);
  EXPECT_EQ(seen.last_error, "the receiver answered 503");
  EXPECT_EQ(*seen.due_us - *seen.attempted_us, 3'600'000'000) << "as the receiver asks";
  EXPECT_EQ(store_->pending_webhooks(), 1U);
}

TEST_F(WebhookDelivery, AfterTheLastAttemptItIsGivenUp) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kRefused; });
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(ends_as("01", WebhookState::failed));
  EXPECT_EQ(webhook("01").attempts, 4);
  EXPECT_EQ(webhook("01").last_error, "the receiver answered 500");
  EXPECT_EQ(receiver.received().size(), 4U);
  EXPECT_TRUE(has_metric("bailiff_webhook_attempts_total{outcome=\"failed\"} 1\n"));
}

TEST_F(WebhookDelivery, GoneIsGone) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return WebhookReceiver::status("410 Gone"); });
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(ends_as("01", WebhookState::failed));
  EXPECT_EQ(webhook("01").last_status, 410);
  EXPECT_EQ(receiver.received().size(), 1U);
}

TEST_F(WebhookDelivery, ARedirectIsNotFollowed) {
  WebhookReceiver elsewhere([](const Received&, std::size_t) { return kTaken; });
  WebhookReceiver receiver(
      [&](const Received&, std::size_t) { return WebhookReceiver::status("307 There", "Location: " + elsewhere.url() + "\r\n"); });
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(ends_as("01", WebhookState::failed));
  EXPECT_EQ(webhook("01").last_error, "the receiver answered 307; redirects are not followed");
  EXPECT_EQ(receiver.received().size(), 4U);
  EXPECT_TRUE(elsewhere.received().empty());
}

TEST_F(WebhookDelivery, AReceiverThatDoesNotAnswerIsLeft) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? std::string() : kTaken; });
  options_.attempt_time = milliseconds(300);
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(reaches([&] { return webhook("01").attempts >= 1; }));
  ASSERT_TRUE(ends_as("01", WebhookState::delivered));
  EXPECT_GE(webhook("01").attempts, 2);
}

TEST_F(WebhookDelivery, WhyAReceiverCouldNotBeTold) {
  const auto fails_with = [&](const std::string& id, const std::string& url, const std::string& expected) {
    submit_and_end(id, url);
    EXPECT_TRUE(ends_as(id, WebhookState::failed));
    EXPECT_NE(webhook(id).last_error.find(expected), std::string::npos) << webhook(id).last_error;
  };
  options_.schedule.most_attempts = 1;
  options_.attempt_time = seconds(2);
  start();
  std::string nobody;
  {
    const WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
    nobody = receiver.url();
  }
  fails_with("01", nobody, "cannot connect: ");
  WebhookReceiver silent([](const Received&, std::size_t) { return std::string(); });
  fails_with("02", silent.url(), "no answer: the time for an attempt was over");
  WebhookReceiver odd([](const Received&, std::size_t) { return std::string("SSH-2.0-OpenSSH\r\n\r\n"); });
  fails_with("03", odd.url(), "no answer: ");
  WebhookReceiver endless([](const Received&, std::size_t) { return "HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n"; });
  fails_with("04", endless.url(), "no answer: ");
  fails_with("05", "http://no-such-host.invalid/", "cannot look up the name: ");
}

TEST_F(WebhookDelivery, ALongAnswerIsNotWaitedFor) {
  WebhookReceiver receiver(
      [](const Received&, std::size_t) { return "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + std::string(1'000'000, 'x'); });
  start();
  submit_and_end("01", receiver.url());
  EXPECT_TRUE(ends_as("01", WebhookState::delivered));
  EXPECT_EQ(webhook("01").attempts, 1);
}

TEST_F(WebhookDelivery, AnAddressIsJudgedWhenItIsConnectedTo) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  options_.rules = {true, true};  // of the URL; the client has its own, as it is the second wall
  auto client = WebhookClient::make(io_, "", {false, true});
  ASSERT_TRUE(client);
  deliverer_.emplace(io_, *store_, threads_, metrics_, **client, options_);
  deliverer_->start();
  submit_and_end("01", receiver.url());
  submit_and_end("02", receiver.url("localhost"));
  for (const char* id : {"01", "02"}) {
    EXPECT_TRUE(ends_as(id, WebhookState::failed));
    EXPECT_EQ(webhook(id).last_error, "its name has no public address; webhooks go to public addresses only");
    EXPECT_EQ(webhook(id).attempts, 1);
  }
  EXPECT_TRUE(receiver.received().empty());
  stop();
}

TEST_F(WebhookDelivery, WhatTheRulesForbidMeanwhileIsGivenUp) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  submit_and_end("01", receiver.url());
  options_.rules = {true, false};
  start();
  ASSERT_TRUE(ends_as("01", WebhookState::failed));
  EXPECT_NE(webhook("01").last_error.find("the URL is refused now: "), std::string::npos);
  EXPECT_TRUE(receiver.received().empty());
}

TEST_F(WebhookDelivery, WhatWasDueBeforeTheStartIsDelivered) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  submit_and_end("01", receiver.url());
  start();
  EXPECT_TRUE(ends_as("01", WebhookState::delivered));
}

TEST_F(WebhookDelivery, AnAttemptThatIsCutShortIsMadeAgainAndNotCounted) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? std::string() : kTaken; });
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(reaches([&] { return receiver.received().size() == 1; }));
  stop();
  EXPECT_EQ(webhook("01").attempts, 0);
  EXPECT_EQ(webhook("01").state, WebhookState::pending);
  start();
  ASSERT_TRUE(ends_as("01", WebhookState::delivered));
  EXPECT_EQ(webhook("01").attempts, 1);
}

TEST_F(WebhookDelivery, AJobThatIsDeletedMeanwhileEndsItsDelivery) {
  WebhookReceiver receiver([](const Received&, std::size_t number) { return number == 0 ? std::string() : kTaken; });
  options_.attempt_time = seconds(1);
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(reaches([&] { return receiver.received().size() == 1; }));
  EXPECT_TRUE(answer<void>([&](auto done) { store_->forget("01", std::move(done)); }));
  submit_and_end("02", receiver.url());
  EXPECT_TRUE(ends_as("02", WebhookState::delivered));
  EXPECT_TRUE(reaches([&] { return has_metric("bailiff_webhook_attempts_total{outcome=\"pending\"} 1\n"); }));
  stop(seconds(20));
  EXPECT_EQ(receiver.received().size(), 2U);
}

TEST_F(WebhookDelivery, ASlowReceiverLeavesPlacesToOthers) {
  WebhookReceiver slow([](const Received&, std::size_t) { return std::string(); });
  WebhookReceiver quick([](const Received&, std::size_t) { return kTaken; });
  options_.at_one_time = 8;
  for (int i = 0; i < 10; ++i) submit_and_end("a" + std::to_string(i), slow.url());
  start();
  submit_and_end("b", quick.url());
  EXPECT_TRUE(ends_as("b", WebhookState::delivered));
  EXPECT_EQ(slow.wait_for(2).size(), 2U);
}

TEST_F(WebhookDelivery, ManyAreDeliveredOnceEach) {
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; });
  options_.at_one_time = 4;
  start();
  for (int i = 0; i < 100; ++i) submit_and_end(std::to_string(1000 + i), receiver.url(), std::to_string(i % 5));
  EXPECT_TRUE(reaches([&] { return store_->pending_webhooks().value() == 0; }));
  std::map<std::string, int> times;
  for (const auto& message : receiver.received()) ++times[message.headers.at("webhook-id")];
  EXPECT_EQ(times.size(), 100U);
  for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id;
}

TEST_F(WebhookDelivery, ACertificateMustBeTrustedAndTheHosts) {
  const SelfSigned identity("IP:127.0.0.1");
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; }, &identity);
  options_.schedule.most_attempts = 1;
  start();
  submit_and_end("01", receiver.url());
  ASSERT_TRUE(ends_as("01", WebhookState::failed));
  EXPECT_NE(webhook("01").last_error.find("certificate is refused: self-signed"), std::string::npos) << webhook("01").last_error;
  EXPECT_TRUE(receiver.received().empty());
  stop();

  const auto ca_file = file(identity.certificate);
  start(ca_file);
  submit_and_end("02", receiver.url());
  EXPECT_TRUE(ends_as("02", WebhookState::delivered));
  submit_and_end("03", receiver.url("localhost"));
  EXPECT_TRUE(ends_as("03", WebhookState::failed));
  EXPECT_NE(webhook("03").last_error.find("certificate is refused: hostname mismatch"), std::string::npos) << webhook("03").last_error;
  EXPECT_EQ(receiver.received().size(), 1U);
  std::filesystem::remove(ca_file);
}

TEST_F(WebhookDelivery, ACertificateForAName) {
  const SelfSigned identity("DNS:localhost");
  WebhookReceiver receiver([](const Received&, std::size_t) { return kTaken; }, &identity);
  const auto ca_file = file(identity.certificate);
  start(ca_file);
  submit_and_end("01", receiver.url("localhost"));
  EXPECT_TRUE(ends_as("01", WebhookState::delivered)) << webhook("01").last_error;
  std::filesystem::remove(ca_file);
}

TEST(WebhookClientMake, AFileThatIsNoCertificateIsNamed) {
  boost::asio::io_context io;
  const auto missing = WebhookClient::make(io, "/no/such/file.pem", {});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("webhook.ca_file"), std::string::npos);
  EXPECT_TRUE(WebhookClient::make(io, "", {}));
}

}  // namespace
}  // namespace bailiff::server
