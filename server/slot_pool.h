#pragma once
// The slots of the sandbox as coroutines see them: borrow one, run steps in it, give it back.
//
// Theory of operation. The pool watches the source (the launcher) for announced slots and every slot for its report or its end; nothing
// here blocks the io thread. A slot that dies fails the step that it runs and is forgotten; the source announces its replacement under the
// same index. Those who wait for a slot stand in two lines: steps of jobs that already run go before new jobs, each line first come, first
// served. All on the io thread.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/jobs.h"
#include "server/slot_port.h"

namespace bailiff::server {

enum class SlotLine { running_job, new_job };

/// One borrowed slot; its destructor gives it back. Destroyed while a step runs, it ends the slot: then nobody knows its state.
class SlotLease {
 public:
  SlotLease(SlotLease&& other) noexcept = default;
  SlotLease& operator=(SlotLease&& other) noexcept;
  ~SlotLease();

  [[nodiscard]] unsigned index() const;
  /// What slots() shows as this slot's job.
  void show_job(const std::string& id);
  /// Runs one step. ErrorKind::unavailable: the slot died or gave no report within the step's wall time and some more; the others as
  /// sandbox::Slot::finish().
  /// `on_input` is called once with the caller's end of the step's input, where the request asks for one.
  boost::asio::awaitable<core::Result<sandbox::StepReport>> run(const sandbox::StepRequest& request,
                                                                std::function<void(core::Fd)> on_input = {});
  /// Ends the running step: run() then gives its report, verdict `cancelled`. Harmless when nothing runs.
  void cancel();
  /// Stops the running step, and its deadline with it, until resume(). Both harmless when nothing runs.
  void pause();
  void resume();
  /// Calls back once, when output of the running step was captured since the last call back, or else never. Harmless when nothing runs.
  void tell_output(std::function<void()> on_output);
  /// About what runs, as sandbox::Slot's. ErrorKind::conflict: nothing does.
  core::Result<core::Fd> ask_inspection();
  core::Result<core::Fd> ask_exec(const sandbox::ExecRequest& request);

 private:
  friend class SlotPool;
  struct Slot;
  struct Pool;
  SlotLease(std::shared_ptr<Pool> pool, std::shared_ptr<Slot> slot);
  void give_back();
  std::shared_ptr<Pool> pool_;
  std::shared_ptr<Slot> slot_;
};

class SlotPool {
 public:
  /// A place in a line; withdraw() leaves it.
  class Request {
   public:
    explicit Request(boost::asio::any_io_executor executor);
    ~Request();

   private:
    friend class SlotPool;
    friend class SlotLease;
    struct State;
    std::unique_ptr<State> state_;
  };

  /// `source` outlives the pool and the running of `io`. `slots`: how many there will be.
  SlotPool(boost::asio::io_context& io, SlotSource& source, unsigned slots);
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;
  ~SlotPool();

  /// Begins to adopt slots. `on_source_lost` is called once if the source ends before stop().
  void start(std::function<void(core::Error)> on_source_lost);
  /// Lets go of every slot and the source; whoever waits in a line gets nothing.
  void stop();

  std::shared_ptr<Request> request(SlotLine line);
  /// Nothing: withdrawn, or the pool has stopped.
  boost::asio::awaitable<std::optional<SlotLease>> wait(std::shared_ptr<Request> request);
  void withdraw(const std::shared_ptr<Request>& request);
  /// request() and wait().
  boost::asio::awaitable<std::optional<SlotLease>> acquire(SlotLine line);

  [[nodiscard]] unsigned size() const;   // slots that there should be
  [[nodiscard]] unsigned alive() const;  // slots that there are
  [[nodiscard]] std::vector<SlotInfo> slots() const;

 private:
  std::shared_ptr<SlotLease::Pool> pool_;
};

}  // namespace bailiff::server
