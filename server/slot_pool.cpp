#include "server/slot_pool.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <deque>

#include "server/log.h"
#include "server/readable.h"
#include "server/wake_up.h"

namespace bailiff::server {

namespace asio = boost::asio;
using std::chrono::steady_clock;

namespace {

// What a slot may need beyond the program's wall time to unpack, clean up and collect before it counts as stuck.
constexpr auto kReportGrace = std::chrono::seconds(60);
constexpr auto kCancelGrace = std::chrono::seconds(10);

}  // namespace

struct SlotLease::Slot {
  Slot(asio::io_context& io, std::unique_ptr<SlotPort> p)
      : index(p->index()), readable(io.get_executor(), p->fd()), port(std::move(p)), reported(io.get_executor()) {}
  unsigned index;
  Readable readable;
  std::unique_ptr<SlotPort> port;  // none: dead
  bool leased = false, running = false;
  std::string job_id;
  std::optional<core::Result<sandbox::StepReport>> report;
  steady_clock::time_point deadline;
  std::optional<steady_clock::time_point> paused_at;  // the deadline stands still
  std::function<void()> on_output;  // set while a notice of output is awaited
  std::function<void(core::Fd)> on_input;  // set until the step's input is there
  WakeUp reported;
  void forget_calls() {
    on_output = nullptr;
    on_input = nullptr;
  }
};

struct SlotPool::Request::State {
  explicit State(asio::any_io_executor executor) : granted(std::move(executor)) {}
  std::optional<SlotLease> lease;
  bool withdrawn = false;
  WakeUp granted;
};

struct SlotLease::Pool : std::enable_shared_from_this<SlotLease::Pool> {
  Pool(asio::io_context& context, SlotSource& slot_source, unsigned count) : io(context), source(slot_source), slots(count) {}

  asio::awaitable<void> watch_source();
  asio::awaitable<void> watch_slot(std::shared_ptr<Slot> slot);
  void adopt(std::unique_ptr<SlotPort> port);
  void take_report(Slot& slot);
  /// The slot is dead: close our end, and fail the step that it ran.
  void retire(Slot& slot, const std::string& why);
  /// Gives free slots to those who wait.
  void grant();

  asio::io_context& io;
  SlotSource& source;
  std::vector<std::shared_ptr<Slot>> slots;  // by index; null until announced
  std::deque<std::shared_ptr<SlotPool::Request>> lines[2];
  std::optional<Readable> source_readable;
  std::function<void(core::Error)> on_source_lost;
  bool stopped = false;
};

asio::awaitable<void> SlotLease::Pool::watch_source() {
  while (co_await source_readable->wait()) {
    if (stopped) co_return;
    auto port = source.next_slot();
    if (!port) {
      if (on_source_lost) on_source_lost(port.error());
      co_return;
    }
    adopt(std::move(*port));
  }
}

void SlotLease::Pool::adopt(std::unique_ptr<SlotPort> port) {
  const unsigned index = port->index();
  if (index >= slots.size()) {
    log_error("a slot with an unexpected number was announced", {{"slot", index}});
    return;
  }
  if (slots[index] != nullptr) retire(*slots[index], "replaced");
  auto slot = std::make_shared<Slot>(io, std::move(port));
  slots[index] = slot;
  asio::co_spawn(io, [self = shared_from_this(), slot]() { return self->watch_slot(slot); }, asio::detached);
  grant();
}

asio::awaitable<void> SlotLease::Pool::watch_slot(std::shared_ptr<Slot> slot) {
  while (slot->port != nullptr) {
    const bool readable = co_await slot->readable.wait();
    if (slot->port == nullptr) co_return;
    if (!readable || !slot->running) {
      retire(*slot, readable ? "ended while idle" : "cannot be watched");
      co_return;
    }
    auto notice = slot->port->take_notice();
    if (!notice) {
      take_report(*slot);
    } else if (notice->input.valid()) {
      if (const auto call = std::exchange(slot->on_input, nullptr)) call(std::move(notice->input));
    } else if (const auto call = std::exchange(slot->on_output, nullptr)) {
      call();
    }
  }
}

void SlotLease::Pool::take_report(Slot& slot) {
  auto report = slot.port->finish();
  slot.running = false;
  slot.forget_calls();
  const bool dead = !report && report.error().kind == core::ErrorKind::unavailable;
  const auto why = dead ? report.error().what : std::string();
  slot.report = std::move(report);
  if (dead) retire(slot, why);
  slot.reported.all();
}

void SlotLease::Pool::retire(Slot& slot, const std::string& why) {
  if (slot.port == nullptr) return;
  if (!stopped) log_warn("a slot is gone", {{"slot", slot.index}, {"why", why}, {"job", slot.job_id}});
  slot.readable.close();
  slot.port.reset();
  slot.forget_calls();
  if (std::exchange(slot.running, false)) slot.report = core::error(core::ErrorKind::unavailable, "the slot is gone: " + why);
  slot.reported.all();
}

void SlotLease::Pool::grant() {
  for (const auto& slot : slots) {
    if (slot == nullptr || slot->port == nullptr || slot->leased) continue;
    auto& line = lines[0].empty() ? lines[1] : lines[0];
    if (line.empty()) return;
    const auto request = std::move(line.front());
    line.pop_front();
    slot->leased = true;
    request->state_->lease.emplace(SlotLease(shared_from_this(), slot));
    request->state_->granted.all();
  }
}

SlotLease::SlotLease(std::shared_ptr<Pool> pool, std::shared_ptr<Slot> slot) : pool_(std::move(pool)), slot_(std::move(slot)) {}

SlotLease& SlotLease::operator=(SlotLease&& other) noexcept {
  if (this != &other) {
    give_back();
    pool_ = std::move(other.pool_);
    slot_ = std::move(other.slot_);
  }
  return *this;
}

SlotLease::~SlotLease() { give_back(); }

void SlotLease::give_back() {
  if (slot_ == nullptr) return;
  if (slot_->running) pool_->retire(*slot_, "given up while a step ran");
  if (slot_->port != nullptr)
    if (auto dropped = slot_->port->drop_workspace(); !dropped) pool_->retire(*slot_, dropped.error().what);
  slot_->leased = false;
  slot_->job_id.clear();
  slot_.reset();
  if (!pool_->stopped) pool_->grant();
}

unsigned SlotLease::index() const { return slot_->index; }
void SlotLease::show_job(const std::string& id) { slot_->job_id = id; }

asio::awaitable<core::Result<sandbox::StepReport>> SlotLease::run(const sandbox::StepRequest& request,
                                                                  std::function<void(core::Fd)> on_input) {
  const auto slot = slot_;
  if (slot->port == nullptr) co_return core::error(core::ErrorKind::unavailable, "the slot is gone");
  if (auto started = slot->port->start(request); !started) {
    if (started.error().kind != core::ErrorKind::invalid) pool_->retire(*slot, started.error().what);
    co_return std::unexpected(started.error());
  }
  slot->running = true;
  slot->on_input = std::move(on_input);
  slot->report.reset();
  slot->deadline = steady_clock::now() + std::chrono::microseconds(request.limits.wall_time_us) + kReportGrace;
  slot->paused_at.reset();
  while (!slot->report) {
    const auto deadline = slot->paused_at ? steady_clock::time_point::max() : slot->deadline;
    if (steady_clock::now() >= deadline) pool_->retire(*slot, "no report in time");
    else co_await slot->reported.wait_until(deadline);
  }
  auto report = std::move(*slot->report);
  slot->report.reset();
  co_return report;
}

void SlotLease::cancel() {
  if (slot_ == nullptr || !slot_->running) return;
  if (auto done = slot_->port->cancel(); !done) log_warn("a slot did not take a cancel", {{"slot", slot_->index}, {"why", done.error()}});
  slot_->paused_at.reset();
  slot_->deadline = std::min(slot_->deadline, steady_clock::now() + kCancelGrace);
  slot_->reported.all();  // so that the new deadline is seen
}

void SlotLease::pause() {
  if (slot_ == nullptr || !slot_->running || slot_->paused_at) return;
  if (auto done = slot_->port->pause(); !done)
    return log_warn("a slot did not take a pause", {{"slot", slot_->index}, {"why", done.error()}});
  slot_->paused_at = steady_clock::now();
  slot_->reported.all();  // so that the deadline is forgotten
}

void SlotLease::tell_output(std::function<void()> on_output) {
  if (slot_ == nullptr || !slot_->running || slot_->on_output) return;
  if (auto asked = slot_->port->tell_output(); !asked)
    return log_warn("a slot did not take a question", {{"slot", slot_->index}, {"why", asked.error()}});
  slot_->on_output = std::move(on_output);
}

void SlotLease::resume() {
  if (slot_ == nullptr || !slot_->running || !slot_->paused_at) return;
  if (auto done = slot_->port->resume(); !done) log_warn("a slot did not take a resume", {{"slot", slot_->index}, {"why", done.error()}});
  slot_->deadline += steady_clock::now() - *slot_->paused_at;
  slot_->paused_at.reset();
  slot_->reported.all();
}

core::Result<core::Fd> SlotLease::ask_inspection() {
  if (slot_ == nullptr || !slot_->running) return core::error(core::ErrorKind::conflict, "no step runs in this slot");
  return slot_->port->ask_inspection();
}

core::Result<core::Fd> SlotLease::ask_exec(const sandbox::ExecRequest& request) {
  if (slot_ == nullptr || !slot_->running) return core::error(core::ErrorKind::conflict, "no step runs in this slot");
  return slot_->port->ask_exec(request);
}

SlotPool::Request::Request(asio::any_io_executor executor) : state_(std::make_unique<State>(std::move(executor))) {}
SlotPool::Request::~Request() = default;

SlotPool::SlotPool(asio::io_context& io, SlotSource& source, unsigned slots)
    : pool_(std::make_shared<SlotLease::Pool>(io, source, slots)) {}
SlotPool::~SlotPool() { stop(); }

void SlotPool::start(std::function<void(core::Error)> on_source_lost) {
  pool_->on_source_lost = std::move(on_source_lost);
  pool_->source_readable.emplace(pool_->io.get_executor(), pool_->source.fd());
  asio::co_spawn(pool_->io, [pool = pool_]() { return pool->watch_source(); }, asio::detached);
}

void SlotPool::stop() {
  if (std::exchange(pool_->stopped, true)) return;
  if (pool_->source_readable) pool_->source_readable->close();
  for (auto& line : pool_->lines) {
    for (const auto& request : line) request->state_->withdrawn = true, request->state_->granted.all();
    line.clear();
  }
  for (const auto& slot : pool_->slots)
    if (slot != nullptr) pool_->retire(*slot, "stopped");
}

std::shared_ptr<SlotPool::Request> SlotPool::request(SlotLine line) {
  auto request = std::make_shared<Request>(pool_->io.get_executor());
  if (pool_->stopped) {
    request->state_->withdrawn = true;
    return request;
  }
  pool_->lines[static_cast<int>(line)].push_back(request);
  pool_->grant();
  return request;
}

asio::awaitable<std::optional<SlotLease>> SlotPool::wait(std::shared_ptr<Request> request) {
  auto& state = *request->state_;
  while (!state.lease && !state.withdrawn) co_await state.granted.wait();
  co_return std::exchange(state.lease, std::nullopt);
}

void SlotPool::withdraw(const std::shared_ptr<Request>& request) {
  if (std::exchange(request->state_->withdrawn, true)) return;
  for (auto& line : pool_->lines) std::erase(line, request);
  request->state_->lease.reset();
  request->state_->granted.all();
}

asio::awaitable<std::optional<SlotLease>> SlotPool::acquire(SlotLine line) { co_return co_await wait(request(line)); }

unsigned SlotPool::size() const { return static_cast<unsigned>(pool_->slots.size()); }

unsigned SlotPool::alive() const {
  return static_cast<unsigned>(
      std::count_if(pool_->slots.begin(), pool_->slots.end(), [](const auto& slot) { return slot != nullptr && slot->port != nullptr; }));
}

std::vector<SlotInfo> SlotPool::slots() const {
  std::vector<SlotInfo> infos;
  for (unsigned index = 0; index < pool_->slots.size(); ++index) {
    const auto& slot = pool_->slots[index];
    const bool alive = slot != nullptr && slot->port != nullptr;
    infos.push_back({index, alive, alive ? slot->job_id : std::string()});
  }
  return infos;
}

}  // namespace bailiff::server
