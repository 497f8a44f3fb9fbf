#include "server/webhook_deliverer.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "core/clock.h"
#include "server/api_job.h"
#include "server/async_result.h"
#include "server/log.h"
#include "server/trace_context.h"
#include "server/webhook_message.h"

namespace bailiff::server {

namespace asio = boost::asio;
using core::ErrorKind;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using storage::WebhookState;

namespace {

constexpr auto kLongestSleep = std::chrono::minutes(1);
constexpr auto kStoreRetry = std::chrono::seconds(1);
constexpr std::size_t kPlacesOfAnOrigin = 4;  // the part of all places that one may have: a fourth

}  // namespace

/// What one attempt sends, and where.
struct WebhookDeliverer::Message {
  WebhookTarget target;
  WebhookClient::Headers headers;
  std::string body;
  int attempt = 1;
  std::string refusal;  // not empty: there is nowhere to send it, since the rules have changed
};

namespace {

template <class Message>
core::Result<Message> message_of(const std::string& job_id, storage::Store& store, const WebhookRules& rules) {
  const auto stored = store.webhook(job_id);
  if (!stored) return std::unexpected(stored.error());
  Message message;
  message.attempt = stored->attempts + 1;
  auto target = parse_webhook_url(stored->webhook.url, rules);
  const auto key = webhook_key(stored->webhook.secret);
  if (!target || !key) {
    message.refusal = !target ? "the URL is refused now: " + target.error() : "the secret is refused now: " + key.error();
    return message;
  }
  const auto job = store.get(job_id);
  if (!job) return std::unexpected(job.error());
  auto payload = webhook_payload(*job, store);
  if (!payload) return std::unexpected(std::move(payload.error()));
  const std::int64_t now_s = core::unix_us() / 1'000'000;
  message.headers = {{"webhook-id", job_id},
                     {"webhook-timestamp", std::to_string(now_s)},
                     {"webhook-signature", webhook_signature(*key, job_id, now_s, *payload)}};
  if (const auto trace = stored_traceparent(job->request); !trace.empty()) message.headers.emplace_back("traceparent", next_span(trace));
  message.target = std::move(*target);
  message.body = std::move(*payload);
  return message;
}

}  // namespace

WebhookDeliverer::WebhookDeliverer(asio::io_context& io, storage::Store& store, asio::thread_pool& threads, Metrics& metrics,
                                   WebhookClient& client, Options options)
    : io_(io), store_(store), threads_(threads), metrics_(metrics), client_(client), options_(options), woken_(io.get_executor()),
      ended_(io.get_executor()) {}

void WebhookDeliverer::start() {
  running_ = true;
  asio::co_spawn(io_, run(), asio::detached);
}

void WebhookDeliverer::wake() {
  ++wakes_;
  woken_.all();
}

asio::awaitable<void> WebhookDeliverer::run() {
  while (!stopping_) {
    const auto seen = wakes_;
    milliseconds sleep = kLongestSleep;
    if (under_way_.size() < options_.at_one_time) {
      const auto due = co_await look();
      if (stopping_) break;
      for (const auto& [id, origin] : due.webhooks) {
        under_way_.emplace(id, origin);
        asio::co_spawn(io_, attempt(id, origin), asio::detached);
      }
      if (due.next_us) sleep = std::clamp<milliseconds>(milliseconds((*due.next_us - core::unix_us()) / 1000 + 1), milliseconds(1), sleep);
    }
    if (seen == wakes_) co_await woken_.wait_until(steady_clock::now() + sleep);
  }
  running_ = false;
  ended_.all();
}

/// What may begin now. Those under way when the look began are left out, also where they have ended meanwhile: the look may have seen them
/// as they were before.
asio::awaitable<storage::DueWebhooks> WebhookDeliverer::look() {
  storage::DueQuery query;
  query.now_us = core::unix_us();
  query.latest_us = query.now_us + microseconds(options_.schedule.longest_delay).count();
  query.most = options_.at_one_time - under_way_.size();
  query.most_per_origin = std::max<std::size_t>(options_.at_one_time / kPlacesOfAnOrigin, 1);
  query.under_way = under_way_;
  const auto read = [&]() { return store_.due_webhooks(query); };
  auto due = co_await offload(threads_, read);
  if (due) co_return std::move(*due);
  log_warn("cannot look for webhooks that are due", {{"why", due.error()}});
  storage::DueWebhooks none;
  none.next_us = core::unix_us() + microseconds(kStoreRetry).count();
  co_return none;
}

asio::awaitable<void> WebhookDeliverer::attempt(std::string job_id, std::string origin) {
  co_await deliver(job_id, origin);
  under_way_.erase(job_id);
  wake();
  ended_.all();
}

asio::awaitable<void> WebhookDeliverer::deliver(const std::string& job_id, const std::string& origin) {
  const auto prepare = [&]() { return message_of<Message>(job_id, store_, options_.rules); };
  auto message = co_await offload(threads_, prepare);
  if (!message && message.error().kind == ErrorKind::not_found) co_return;  // the job was deleted, and its webhook with it
  if (!message) {
    log_warn("cannot make a webhook's message", {{"job", job_id}, {"why", message.error()}});
    co_await pause(kStoreRetry);
    co_return;
  }
  WebhookAnswer answer;
  if (message->refusal.empty())
    answer =
        co_await client_.post(std::move(message->target), std::move(message->headers), std::move(message->body), options_.attempt_time);
  else answer = WebhookAnswer{0, message->refusal, std::nullopt, true};
  if (giving_up_ && answer.status == 0) co_return;  // cut short by us: it stays due
  std::uniform_real_distribution<double> part(0, 1);
  const auto next = options_.schedule.after(answer, message->attempt, part(random_));
  storage::WebhookAttempt made;
  made.job_id = job_id;
  made.attempted_us = core::unix_us();
  if (answer.status != 0) made.status = static_cast<int>(answer.status);
  made.error = answer.error;
  made.state = next.state;
  if (next.state == WebhookState::pending) made.due_us = made.attempted_us + microseconds(next.delay).count();
  metrics_.webhook_attempted(next.state);
  if (next.state == WebhookState::delivered)
    log_info("webhook delivered", {{"job", job_id}, {"to", origin}, {"attempt", message->attempt}, {"status", answer.status}});
  else if (next.state == WebhookState::failed)
    log_warn("webhook given up", {{"job", job_id}, {"to", origin}, {"attempt", message->attempt}, {"why", answer.error}});
  else
    log_info("webhook not delivered",
             {{"job", job_id}, {"to", origin}, {"attempt", message->attempt}, {"why", answer.error}, {"next_in_ms", next.delay.count()}});
  co_await record(std::move(made));
}

/// Until it is written: what is not would be sent again and again.
asio::awaitable<void> WebhookDeliverer::record(storage::WebhookAttempt attempt) {
  while (true) {
    auto start = [&](auto done) { store_.record_webhook_attempt(attempt, std::move(done)); };
    const auto written = co_await from_callback<core::Status>(std::move(start));
    if (written || written.error().kind == ErrorKind::not_found) co_return;
    log_warn("cannot record an attempt to deliver a webhook", {{"job", attempt.job_id}, {"why", written.error()}});
    if (giving_up_) co_return;
    co_await pause(kStoreRetry);
  }
}

asio::awaitable<void> WebhookDeliverer::pause(milliseconds time) {
  asio::steady_timer timer(io_, time);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> WebhookDeliverer::drain(steady_clock::time_point deadline) {
  stopping_ = true;
  woken_.all();
  const auto idle = [this]() { return !running_ && under_way_.empty(); };
  while (!idle() && steady_clock::now() < deadline) co_await ended_.wait_until(deadline);
  giving_up_ = true;
  client_.give_up();
  while (!idle()) co_await ended_.wait();
}

}  // namespace bailiff::server
