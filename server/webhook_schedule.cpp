#include "server/webhook_schedule.h"

#include <algorithm>
#include <charconv>
#include <ctime>

namespace bailiff::server {
namespace {

constexpr unsigned kGone = 410;
constexpr int kFactor = 3;
constexpr double kRandomPart = 0.2;
constexpr std::int64_t kLongestRetryAfterSeconds = 366 * 24 * 3600;  // far above any longest_delay, and no number overflows

}  // namespace

WebhookSchedule::Next WebhookSchedule::after(const WebhookAnswer& answer, int attempt, double random) const {
  using std::chrono::milliseconds;
  using storage::WebhookState;
  if (answer.status >= 200 && answer.status < 300) return {WebhookState::delivered, milliseconds(0)};
  if (answer.hopeless || answer.status == kGone || attempt >= most_attempts) return {WebhookState::failed, milliseconds(0)};
  milliseconds delay = std::min(first_delay, longest_delay);
  for (int i = 1; i < attempt && delay < longest_delay; ++i) delay = std::min(delay * kFactor, longest_delay);
  delay -= std::chrono::duration_cast<milliseconds>(delay * (kRandomPart * random));
  if (answer.retry_after) delay = std::max<milliseconds>(delay, *answer.retry_after);
  return {WebhookState::pending, std::clamp(delay, milliseconds(1), std::max(longest_delay, milliseconds(1)))};
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, std::int64_t now_s) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc() || end != value.data() + value.size()) {
    std::tm date{};
    const std::string text(value);
    const char* rest = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    seconds = ::timegm(&date) - now_s;
  }
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kLongestRetryAfterSeconds));
}

}  // namespace bailiff::server
