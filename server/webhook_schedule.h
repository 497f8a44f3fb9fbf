#pragma once
// What comes after an attempt to deliver a webhook: a pure function.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/webhook.h"

namespace bailiff::server {

/// What came of one attempt.
struct WebhookAnswer {
  unsigned status = 0;  // HTTP; 0: none came
  std::string error;    // for the client: why none came, or why it is not a delivery; empty after a 2xx
  std::optional<std::chrono::seconds> retry_after;
  bool hopeless = false;  // another attempt would be refused in the same way
};

struct WebhookSchedule {
  int most_attempts = 14;
  std::chrono::milliseconds first_delay = std::chrono::seconds(5);
  std::chrono::milliseconds longest_delay = std::chrono::hours(4);

  struct Next {
    storage::WebhookState state = storage::WebhookState::pending;
    std::chrono::milliseconds delay{0};  // until the next attempt, where it is pending
  };
  /// After attempt number `attempt`, from 1. Each delay is three times the one before, less a `random` part ([0, 1)) of a fifth, so that
  /// what failed together is not tried again together; and not less than what the receiver asked for. None is above longest_delay.
  [[nodiscard]] Next after(const WebhookAnswer& answer, int attempt, double random) const;
};

/// Of a Retry-After header: seconds, or a date of HTTP; nothing where it is neither.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, std::int64_t now_s);

}  // namespace bailiff::server
