#include "server/job_events.h"

#include <fmt/core.h>

namespace bailiff::server {

using boost::asio::awaitable;
using core::Json;

namespace {

constexpr std::string_view kPulse = ": \n\n";

}  // namespace

awaitable<bool> JobEvents::run(Client& client) {
  const std::vector<std::string> ids(1, id());
  const auto watch = jobs().watch(ids, News::everything);
  // Thousands of clients may wait here: no coroutines of their own, but a call.
  struct Leaving {
    Client& client;
    ~Leaving() { client.when_gone(nullptr); }
  };
  const Leaving leaving{client};
  client.when_gone([&watch]() { watch->end(); });
  const End end = co_await follow(*watch, bounds_.event_pulse_time);
  co_return end != End::broken;
}

awaitable<bool> JobEvents::on_state() {
  Json data = Json::object();
  data["state"] = at().told == JobPosition::queued ? "queued" : at().told == JobPosition::finished ? "finished" : "running";
  data["paused"] = at().told == JobPosition::paused;
  data["attempt"] = at().attempt;
  co_return co_await send("state", data);
}

awaitable<bool> JobEvents::on_step(std::uint64_t index, std::string name, const Json* end) {
  Json data = Json::object();
  data["index"] = index;
  data["name"] = core::to_utf8(name);
  data["state"] = end == nullptr ? "running" : "finished";
  if (end != nullptr) data.update(*end);
  co_return co_await send("step", data);
}

awaitable<bool> JobEvents::on_output(storage::Stream stream, std::uint64_t offset, std::string bytes) {
  Json data = Json::object();
  data["step"] = at().step;
  data["offset"] = offset;
  data["data"] = core::content_to_json(bytes);
  co_return co_await send(stream == storage::Stream::stdout_stream ? "stdout" : "stderr", data);
}

awaitable<bool> JobEvents::on_done(Json document) { co_return co_await send("done", document); }

awaitable<bool> JobEvents::on_silence() { co_return co_await sink_.send(kPulse); }

// JSON has no line breaks in it, so that no output can end its event and begin another.
awaitable<bool> JobEvents::send(const char* event, const Json& data) {
  const std::string text = fmt::format("id: {}\nevent: {}\ndata: {}\n\n", at().text(), event, data.dump());
  co_return co_await sink_.send(text);
}

}  // namespace bailiff::server
