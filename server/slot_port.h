#pragma once
// What the pool needs of a slot and of whoever makes slots. The real ones are the sandbox's; tests bring their own.
#include <memory>

#include "sandbox/client.h"

namespace bailiff::server {

/// As sandbox::Slot, whose comments hold here.
class SlotPort {
 public:
  virtual ~SlotPort() = default;
  [[nodiscard]] virtual unsigned index() const = 0;
  [[nodiscard]] virtual int fd() const = 0;
  virtual core::Status start(const sandbox::StepRequest& request) = 0;
  virtual core::Status cancel() = 0;
  virtual core::Status drop_workspace() = 0;
  virtual core::Status pause() = 0;
  virtual core::Status resume() = 0;
  virtual core::Result<core::Fd> ask_inspection() = 0;
  virtual core::Result<core::Fd> ask_exec(const sandbox::ExecRequest& request) = 0;
  virtual core::Status tell_output() { return {}; }
  virtual std::optional<sandbox::Notice> take_notice() { return std::nullopt; }
  virtual core::Result<sandbox::StepReport> finish() = 0;
};

/// As sandbox::Launcher: readable when a slot is announced, and at its end.
class SlotSource {
 public:
  virtual ~SlotSource() = default;
  [[nodiscard]] virtual int fd() const = 0;
  virtual core::Result<std::unique_ptr<SlotPort>> next_slot() = 0;
};

class SandboxSlot final : public SlotPort {
 public:
  explicit SandboxSlot(sandbox::Slot slot) : slot_(std::move(slot)) {}
  [[nodiscard]] unsigned index() const override { return slot_.index(); }
  [[nodiscard]] int fd() const override { return slot_.fd(); }
  core::Status start(const sandbox::StepRequest& request) override { return slot_.start(request); }
  core::Status cancel() override { return slot_.cancel(); }
  core::Status drop_workspace() override { return slot_.drop_workspace(); }
  core::Status pause() override { return slot_.pause(); }
  core::Status resume() override { return slot_.resume(); }
  core::Result<core::Fd> ask_inspection() override { return slot_.ask_inspection(); }
  core::Result<core::Fd> ask_exec(const sandbox::ExecRequest& request) override { return slot_.ask_exec(request); }
  core::Status tell_output() override { return slot_.tell_output(); }
  std::optional<sandbox::Notice> take_notice() override { return slot_.take_notice(); }
  core::Result<sandbox::StepReport> finish() override { return slot_.finish(); }

 private:
  sandbox::Slot slot_;
};

/// Announces the slots of a launcher, which it does not own.
class LauncherSlots final : public SlotSource {
 public:
  explicit LauncherSlots(sandbox::Launcher& launcher) : launcher_(launcher) {}
  [[nodiscard]] int fd() const override { return launcher_.fd(); }
  core::Result<std::unique_ptr<SlotPort>> next_slot() override {
    auto slot = launcher_.next_slot();
    if (!slot) return std::unexpected(slot.error());
    return std::make_unique<SandboxSlot>(std::move(*slot));
  }

 private:
  sandbox::Launcher& launcher_;
};

}  // namespace bailiff::server
