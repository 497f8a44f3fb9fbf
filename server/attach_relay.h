#pragma once
// Joins a client with an interactive job: what it sends is the standard input of the interactive step, and the output of all steps comes
// back, from the first byte. Messages and channels are those of stream_relay.h; of control, the server sends
//
//   {"begun": 1}                              the interactive step of this attempt reads from here; another number: all begins anew
//   {"verdict": "ok", "message": null, …}     the last message: the job has ended ("exit_code", "signal": of the last step, or null)
//   {"error": "why"}                          the last message: it was deleted, or the server cannot go on
//
// A client that leaves ends nothing: the next one begins with the first byte of output.
#include <boost/asio/posix/stream_descriptor.hpp>
#include <optional>

#include "server/http_bounds.h"
#include "server/job_follower.h"
#include "server/stream_relay.h"

namespace bailiff::server {

class AttachRelay final : public JobFollower {
 public:
  /// `socket` and the others outlive it. `size`: of the terminal, where the client has one.
  AttachRelay(const boost::asio::any_io_executor& executor, WebSocket& socket, Jobs& jobs, storage::Store& store, const HttpBounds& bounds,
              std::string id, bool terminal, std::optional<winsize> size);
  /// Until the job has ended and the client knows, or the client is gone.
  boost::asio::awaitable<void> run();

 private:
  boost::asio::awaitable<void> from_client();
  boost::asio::awaitable<void> to_client();
  boost::asio::awaitable<void> write_input();
  boost::asio::awaitable<void> take_input(std::string bytes);
  /// What is wrong with it; empty where nothing is.
  boost::asio::awaitable<std::string> obey(std::string_view control);
  void resize();
  void close_input();
  /// False: the connection is over, or the client does not take it.
  boost::asio::awaitable<bool> send(Channel channel, std::string_view bytes);

  boost::asio::awaitable<bool> on_state() override;
  boost::asio::awaitable<bool> on_step(std::uint64_t index, std::string name, const core::Json* end) override;
  boost::asio::awaitable<bool> on_output(storage::Stream stream, std::uint64_t offset, std::string bytes) override;
  boost::asio::awaitable<bool> on_done(core::Json document) override;
  boost::asio::awaitable<bool> on_silence() override;
  boost::asio::awaitable<bool> on_look() override;

  WebSocket& socket_;
  const HttpBounds& bounds_;
  const bool terminal_;
  std::optional<winsize> size_;
  std::unique_ptr<JobWatch> watch_;
  boost::asio::posix::stream_descriptor input_;  // open while the interactive step runs and was not told of the end of its input
  std::string waiting_;                          // for the program to read it
  bool ends_ = false;                            // after `waiting_`
  std::uint64_t begun_ = 0;                      // the attempt whose input was opened last
  bool over_ = false;                            // the client is gone
  WakeUp changed_;
};

}  // namespace bailiff::server
