#pragma once
// The webhook of a job: where its end is told, and how far that has come. The table of them is an outbox: the transaction that ends a
// job makes its webhook due, and it stays due until an attempt is recorded that ends it. So none is lost, whatever is killed and when.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bailiff::storage {

struct Webhook {
  std::string url;
  std::string secret;  // as the client gave it; erased with the end of the delivery
  std::string origin;  // of the URL: webhooks of one origin share a bound
};

enum class WebhookState { pending, delivered, failed };
inline constexpr std::array kWebhookStateNames = {"pending", "delivered", "failed"};
constexpr std::string_view name(WebhookState state) { return kWebhookStateNames.at(static_cast<std::size_t>(state)); }

/// Times are Unix microseconds.
struct StoredWebhook {
  Webhook webhook;
  WebhookState state = WebhookState::pending;
  int attempts = 0;
  std::optional<std::int64_t> due_us;        // of the next attempt; nothing before the job's end and after the delivery's
  std::optional<std::int64_t> attempted_us;  // the last attempt
  std::optional<int> last_status;            // HTTP; nothing where no answer came
  std::string last_error;                    // for the client; empty: none
};

/// What came of an attempt.
struct WebhookAttempt {
  std::string job_id;
  std::int64_t attempted_us = 0;
  std::optional<int> status;
  std::string error;
  WebhookState state = WebhookState::pending;  // from now on
  std::optional<std::int64_t> due_us;          // set exactly where it is pending
};

/// What is due, the longest due first. Nothing stays due later than `latest_us`: where the clock was set back, such a time means nothing
/// any more, and the webhook is due now.
struct DueQuery {
  std::int64_t now_us = 0, latest_us = 0;
  std::size_t most = 1;             // webhooks in the answer
  std::size_t most_per_origin = 1;  // in the answer and under way together
  std::map<std::string, std::string> under_way;  // job id → origin; these are left out
};
struct DueWebhooks {
  std::vector<std::pair<std::string, std::string>> webhooks;  // job id, origin
  std::optional<std::int64_t> next_us;  // when another one becomes due by itself
};

}  // namespace bailiff::storage
