#include "cli/top.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "cli/http_client.h"
#include "cli/interrupt_watch.h"
#include "cli/raw_terminal.h"
#include "cli/render.h"

namespace bailiff::cli {
namespace {

using core::Json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostJobs = 100, kPlainRows = 40;
constexpr std::size_t kHeadRows = 5;  // lines above the jobs, with one below them
// DECSET: the alternate screen, no cursor, and lines that the terminal cuts instead of wrapping.
constexpr const char *kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l", *kLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr const char *kHome = "\x1b[H", *kClearLine = "\x1b[K", *kClearBelow = "\x1b[J";

/// Takes the screen for as long as it lives.
class Screen {
 public:
  explicit Screen(const Stream& out) : out_(out) { (void)out_.write(kEnter); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() { (void)out_.write(kLeave); }
  core::Status show(std::string_view page) const {
    std::string text = kHome;
    for (const char c : page) text += c == '\n' ? std::string(kClearLine) + "\r\n" : std::string(1, c);
    return out_.write(text + kClearBelow);
  }

 private:
  const Stream& out_;
};

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  return object.is_object() && object.contains(key) ? object[key] : kNull;
}
std::string text(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string slots_line(const Json& system, const Paint& paint) {
  std::string line;
  std::size_t busy = 0, all = 0;
  for (const Json& slot : member(system, "slots")) {
    const auto state = text(slot, "state");
    ++all;
    busy += state == "busy" ? 1 : 0;
    line += paint(state == "busy"   ? Colour::green
                  : state == "dead" ? Colour::red
                                    : Colour::dim,
                  state == "idle"   ? "."
                  : state == "busy" ? "#"
                                    : "x");
  }
  return fmt::format("slots   {} of {} busy  {}\n", busy, all, line);
}

std::string rates_line(const TopLook& look, const TopLook& before, double seconds, const Paint& paint) {
  std::string line;
  double all = 0;
  for (const auto& [verdict, count] : look.finished) {
    const auto old = before.finished.find(verdict);
    const double rate = (count - (old == before.finished.end() ? 0 : old->second)) / seconds;
    if (rate <= 0) continue;
    all += rate;
    line += "  " + paint(verdict_colour(verdict), fmt::format("{} {:.1f}", sanitise_line(verdict), rate));
  }
  return fmt::format("ended   {:.1f} a second{}\n", all, line);
}

Expected<TopLook> look_at(HttpClient& client) {
  TopLook look;
  auto system = client.json({.path = "/v1/system"});
  if (!system) return std::unexpected(std::move(system.error()));
  auto jobs = client.json({.path = fmt::format("/v1/jobs?limit={}", kMostJobs)});
  if (!jobs) return std::unexpected(std::move(jobs.error()));
  const auto metrics = client.exchange({.path = "/metrics", .accept = "text/plain"});
  if (!metrics) return std::unexpected(metrics.error());
  if (metrics->status != 200) return std::unexpected(failure_of_answer(*metrics));
  look.system = std::move(*system);
  look.jobs = std::move(*jobs);
  look.finished = metric_values(metrics->body, "bailiff_jobs_finished_total", "verdict");
  look.oldest_queued_s = metric_values(metrics->body, "bailiff_queue_oldest_seconds", "")[""];
  return look;
}

/// True where the user wants to leave; else after `wait`.
bool asked_to_leave(const InterruptWatch& signals, bool keyboard, std::chrono::milliseconds wait) {
  const auto until = Clock::now() + wait;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd waits[2] = {{signals.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(waits, keyboard ? 2 : 1, static_cast<int>(left)) <= 0) continue;
    if (waits[0].revents != 0 && signals.take()) return true;
    char typed = 0;
    if (waits[1].revents != 0 && (::read(STDIN_FILENO, &typed, 1) != 1 || typed == 'q' || typed == '\x03')) return true;
  }
}

}  // namespace

std::map<std::string, double> metric_values(std::string_view text, std::string_view name, std::string_view label) {
  std::map<std::string, double> values;
  const std::string marker = fmt::format("{}=\"", label);
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto space = line.rfind(' ');
    if (!line.starts_with(name) || space == std::string_view::npos) continue;
    const auto labels = line.substr(name.size(), space - name.size());
    if (!labels.empty() && labels.front() != '{') continue;  // a longer name
    const auto at = label.empty() ? std::string_view::npos : labels.find(marker);
    const auto rest = at == std::string_view::npos ? std::string_view() : labels.substr(at + marker.size());
    double value = 0;
    const auto number = line.substr(space + 1);
    if (std::from_chars(number.data(), number.data() + number.size(), value).ec != std::errc()) continue;
    values[std::string(rest.substr(0, rest.find('"')))] += value;
  }
  return values;
}

std::string render_top(const TopLook& look, const TopLook* before, double seconds, std::size_t rows, const Paint& paint) {
  const Json& queue = member(look.system, "queue");
  const bool ready = member(look.system, "ready") == true;
  std::string page = fmt::format("{}  {}\n", paint(Colour::bold, "bailiffd " + sanitise_line(text(look.system, "version"))),
                                 ready ? paint(Colour::green, "ready") : paint(Colour::red, "not ready"));
  page += slots_line(look.system, paint);
  page += fmt::format("queue   {} waiting of {} at most, {} running, the oldest waits {}\n", text(queue, "queued"), text(queue, "bound"),
                      text(queue, "running"), duration_text(look.oldest_queued_s * 1000));
  page += before == nullptr ? "ended   …\n" : rates_line(look, *before, seconds, paint);
  page += "\n";
  std::vector<Json> jobs;
  for (const Json& job : member(look.jobs, "items"))
    if (jobs.size() + kHeadRows + 2 < rows) jobs.push_back(job);
  return page + render_jobs(jobs, paint);
}

Expected<ExitCode> top(const TopOptions& options, const Console& console) {
  const InterruptWatch signals;
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  const bool live = console.out.is_terminal();
  const std::uint64_t rounds = options.rounds == 0 && !live ? 1 : options.rounds;
  const auto interval = std::chrono::milliseconds(static_cast<std::int64_t>(options.interval_s * 1000));
  auto look = look_at(*client);
  if (!look) return std::unexpected(std::move(look.error()));
  const auto rows = [&]() -> std::size_t { return live ? terminal_size().value_or(winsize{24, 80, 0, 0}).ws_row : kPlainRows; };
  const bool keyboard = live && ::isatty(STDIN_FILENO) == 1;
  std::optional<RawTerminal> raw;
  std::optional<Screen> screen;
  if (keyboard) raw.emplace(STDIN_FILENO);
  if (live) screen.emplace(console.out);
  auto looked = Clock::now();
  std::string page = render_top(*look, nullptr, 1, rows(), console.out.paint());
  for (std::uint64_t round = 0; rounds == 0 || round < rounds; ++round) {
    if (screen && !screen->show(page)) break;
    if (asked_to_leave(signals, keyboard, interval)) break;
    const auto now = Clock::now();
    auto next = look_at(*client);
    if (!next && !live) return std::unexpected(std::move(next.error()));
    if (!next) {
      page = render_failure(next.error(), console.out.paint());
      continue;
    }
    page = render_top(*next, &*look, std::chrono::duration<double>(now - looked).count(), rows(), console.out.paint());
    look = std::move(next);
    looked = now;
    if (live) continue;
    if (auto written = console.out.write(page); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  }
  return kExitOk;
}

}  // namespace bailiff::cli
