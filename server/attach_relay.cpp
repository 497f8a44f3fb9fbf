#include "server/attach_relay.h"

#include <unistd.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <cerrno>

// g++ 12, below -O3, takes Asio's recycling allocator of coroutine frames for a mismatched pair of new and delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace bailiff::server {

namespace asio = boost::asio;
using asio::awaitable;
using core::Json;

namespace {

constexpr auto kResume = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMostInputBytes = 64 * 1024;  // that wait for the program
constexpr std::chrono::hours kNoPulse(24);

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
std::string begun_control(std::uint64_t attempt) { return Json{{"begun", attempt}}.dump(); }

/// Of a finished job's document.
std::string end_control(const Json& document) {
  Json end = {{"verdict", document["verdict"]}, {"message", document["message"]}, {"exit_code", nullptr}, {"signal", nullptr}};
  const Json& steps = document["steps"];
  for (const char* field : {"exit_code", "signal"})
    if (!steps.empty() && steps.back().contains(field)) end[field] = steps.back()[field];
  return end.dump();
}

}  // namespace

AttachRelay::AttachRelay(const asio::any_io_executor& executor, WebSocket& socket, Jobs& jobs, storage::Store& store,
                         const HttpBounds& bounds, std::string id, bool terminal, std::optional<winsize> size)
    : JobFollower(jobs, store, std::move(id), {}), socket_(socket), bounds_(bounds), terminal_(terminal), size_(size), input_(executor),
      changed_(executor) {}

awaitable<void> AttachRelay::run() {
  using namespace asio::experimental::awaitable_operators;
  watch_ = jobs().watch(std::vector<std::string>(1, id()), News::everything);
  co_await (from_client() && write_input() && to_client());
}

awaitable<void> AttachRelay::from_client() {
  std::string fault;
  while (fault.empty()) {
    const auto message = co_await socket_.receive();
    if (!message) break;
    const auto channel = static_cast<Channel>(message->empty() ? -1 : message->front());
    if (channel == Channel::input) co_await take_input(message->substr(1));
    else if (channel == Channel::control) fault = co_await obey(std::string_view(*message).substr(1));
    else fault = "messages from a client begin with the channel, 0 or 3";
  }
  over_ = true;
  watch_->end();
  close_input();
  co_await socket_.close(fault.empty() ? CloseCode::normal : CloseCode::policy, fault);
}

awaitable<void> AttachRelay::to_client() {
  const End end = co_await follow(*watch_, kNoPulse);
  if (over_) co_return;
  over_ = true;
  close_input();
  if (end == End::gone) co_return co_await refuse_stream(socket_, "the job was deleted");
  if (end == End::left) co_return co_await socket_.close(CloseCode::going_away, "the server ends");
  if (end == End::broken)
    co_return co_await refuse_stream(socket_, "the job cannot be followed any more, or its output was not taken in time");
  co_await socket_.close(CloseCode::normal, "");
}

awaitable<void> AttachRelay::take_input(std::string bytes) {
  const bool closed = begun_ != 0 && begun_ == at().attempt && !input_.is_open();
  if (closed || ends_) co_return;  // what comes is nobody's, and a client that leaves is to be noticed
  while (waiting_.size() + bytes.size() > kMostInputBytes && !waiting_.empty() && !over_) co_await changed_.wait();
  waiting_ += bytes;
  changed_.all();
}

awaitable<std::string> AttachRelay::obey(std::string_view control) {
  const auto wish = parse_control(control);
  if (!wish) co_return wish.error();
  if (wish->size) size_ = wish->size;
  else if (terminal_) co_await take_input(std::string(kEndOfTyping));
  else ends_ = true;
  resize();
  changed_.all();
  co_return "";
}

awaitable<void> AttachRelay::write_input() {
  while (!over_) {
    if (!input_.is_open() || (waiting_.empty() && !ends_)) {
      co_await changed_.wait();
    } else if (waiting_.empty()) {
      close_input();
      jobs().close_input(id());
    } else if (const auto count = ::write(input_.native_handle(), waiting_.data(), waiting_.size()); count > 0) {
      waiting_.erase(0, static_cast<std::size_t>(count));
      changed_.all();
    } else if (errno == EAGAIN || errno == EINTR) {
      co_await input_.async_wait(asio::posix::stream_descriptor::wait_write, kResume);
    } else {
      waiting_.clear();  // the program has closed it: what comes is nobody's
      close_input();
    }
  }
}

void AttachRelay::resize() {
  if (terminal_ && size_ && input_.is_open()) (void)::ioctl(input_.native_handle(), TIOCSWINSZ, &*size_);
}

void AttachRelay::close_input() {
  boost::system::error_code ignored;
  input_.close(ignored);
  changed_.all();
}

/// Where the interactive step was told to have begun, its input is opened, as soon as it is there.
awaitable<bool> AttachRelay::on_look() {
  const auto progress = jobs().progress(id());
  if (!progress || at().step >= progress->steps.size() || !progress->steps[at().step].interactive) co_return true;
  if (at().attempt != static_cast<std::uint64_t>(progress->attempt) || at().part != JobPosition::begun || begun_ == at().attempt)
    co_return true;
  auto input = jobs().input_of(id());
  if (!input || over_) co_return true;
  if (begun_ != 0) {  // what was typed was for the attempt before
    waiting_.clear();
    ends_ = false;
  }
  begun_ = at().attempt;
  close_input();
  input_.assign(input->release());
  input_.non_blocking(true);
  resize();
  changed_.all();
  const std::string text = begun_control(begun_);
  co_return co_await send(Channel::control, text);
}

awaitable<bool> AttachRelay::on_state() { co_return true; }

awaitable<bool> AttachRelay::on_step(std::uint64_t, std::string, const Json* end) {
  if (end != nullptr && input_.is_open()) {
    close_input();
    waiting_.clear();
  }
  co_return true;
}

awaitable<bool> AttachRelay::on_output(storage::Stream stream, std::uint64_t, std::string bytes) {
  co_return co_await send(stream == storage::Stream::stdout_stream ? Channel::output : Channel::errors, bytes);
}

awaitable<bool> AttachRelay::on_done(Json document) {
  const std::string text = end_control(document);
  co_return co_await send(Channel::control, text);
}

awaitable<bool> AttachRelay::on_silence() { co_return true; }

awaitable<bool> AttachRelay::send(Channel channel, std::string_view bytes) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer late(input_.get_executor(), bounds_.websocket_drain_time);
  const auto sent = co_await (socket_.send(static_cast<char>(channel), bytes) || late.async_wait(asio::use_awaitable));
  co_return sent.index() == 0 && std::get<0>(sent);
}

}  // namespace bailiff::server
