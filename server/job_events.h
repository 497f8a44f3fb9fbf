#pragma once
// The events of one job as a stream (Server-Sent Events, WHATWG HTML section 9.2): state, step, stdout, stderr, done. The `id` of an
// event is the position behind it.
#include "server/http_bounds.h"
#include "server/http_message.h"
#include "server/job_follower.h"

namespace bailiff::server {

/// One client's stream. io thread only; what is given to it outlives it.
class JobEvents final : public JobFollower {
 public:
  JobEvents(Jobs& jobs, storage::Store& store, const HttpBounds& bounds, std::string id, JobPosition position, BodySink& sink)
      : JobFollower(jobs, store, std::move(id), position), bounds_(bounds), sink_(sink) {}
  /// Until `done` is told, the job is deleted or nobody waits any more. False: the client is gone or the store failed.
  boost::asio::awaitable<bool> run(Client& client);

 private:
  boost::asio::awaitable<bool> on_state() override;
  boost::asio::awaitable<bool> on_step(std::uint64_t index, std::string name, const core::Json* end) override;
  boost::asio::awaitable<bool> on_output(storage::Stream stream, std::uint64_t offset, std::string bytes) override;
  boost::asio::awaitable<bool> on_done(core::Json document) override;
  boost::asio::awaitable<bool> on_silence() override;
  [[nodiscard]] bool in_characters() const override { return true; }
  boost::asio::awaitable<bool> send(const char* event, const core::Json& data);

  const HttpBounds& bounds_;
  BodySink& sink_;
};

}  // namespace bailiff::server
