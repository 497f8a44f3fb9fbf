#include "sandbox/systemd_scope.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string_view>

#include "sandbox/cgroup.h"

namespace bailiff::sandbox {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";

/// `code` is a negative errno; `told` has the other side's own words where it said any.
std::unexpected<core::Error> failed(const std::string& what, int code, const sd_bus_error* told = nullptr) {
  const bool words = told != nullptr && told->message != nullptr;
  return std::unexpected(core::Error{core::ErrorKind::unavailable, what + ": " + (words ? told->message : std::strerror(-code)), -code});
}

struct BusError {
  sd_bus_error value = SD_BUS_ERROR_NULL;
  BusError() = default;
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  ~BusError() { sd_bus_error_free(&value); }
};

struct Unref {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
  void operator()(sd_bus_slot* slot) const { sd_bus_slot_unref(slot); }
};
using Message = std::unique_ptr<sd_bus_message, Unref>;

struct Free {
  void operator()(char* text) const { std::free(text); }
};
using Text = std::unique_ptr<char, Free>;

/// Takes what a function of libsystemd allocates through a pointer to a pointer; empty where it fails.
template <class Get>
Text text_from(Get get) {
  char* text = nullptr;
  return Text(get(&text) < 0 ? nullptr : text);
}

/// What became of one job of systemd's.
struct Job {
  std::string unit;
  std::optional<std::string> result;  // "done", or why not
};

int on_job_removed(sd_bus_message* message, void* data, sd_bus_error*) {
  auto& job = *static_cast<Job*>(data);
  std::uint32_t id = 0;
  const char *path = nullptr, *unit = nullptr, *result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) > 0 && job.unit == unit) job.result = result;
  return 0;
}

/// The properties of the scope, as StartTransientUnit takes them.
int append_properties(sd_bus_message* call, pid_t process) {
  const auto description = "Bailiff's launcher and the programs that it runs, process " + std::to_string(process);
  int code = sd_bus_message_open_container(call, 'a', "(sv)");
  if (code >= 0)
    code = sd_bus_message_append(call, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", description.c_str(), "PIDs", "au", 1,
                                 static_cast<std::uint32_t>(process), "Delegate", "b", 1, "CollectMode", "s", "inactive-or-failed",
                                 "TasksMax", "t", UINT64_MAX);  // every step has a cap of its own
  // What starts later stops first, and nothing says so of a unit that has been running; ordered before ours, the scope outlives it.
  const Text own_unit = text_from([](char** unit) { return sd_pid_get_unit(0, unit); });
  if (code >= 0 && own_unit) code = sd_bus_message_append(call, "(sv)", "Before", "as", 1, own_unit.get());
  return code < 0 ? code : sd_bus_message_close_container(call);
}

}  // namespace

// Without a flush, for which a bus that does not answer makes us wait; nothing is ever left unsent, for each call waits for its answer.
void Systemd::Close::operator()(sd_bus* bus) const { sd_bus_close_unref(bus); }

core::Status Systemd::until(const std::function<int()>& done, const std::string& what) {
  const auto deadline = Clock::now() + patience_;
  int code = 0;
  while ((code = done()) == 0) {
    code = sd_bus_process(bus_.get(), nullptr);
    if (code == 0) {
      const auto left = std::chrono::ceil<std::chrono::microseconds>(deadline - Clock::now()).count();
      if (left <= 0) return failed(what, -ETIMEDOUT);
      code = sd_bus_wait(bus_.get(), static_cast<std::uint64_t>(left));
    }
    if (code < 0 && code != -EINTR) return failed(what, code);
  }
  if (code < 0) return failed(what, code);
  return {};
}

core::Result<Systemd> Systemd::connect(std::chrono::milliseconds patience) {
  sd_bus* bus = nullptr;
  if (const int code = sd_bus_open_system(&bus); code < 0) return failed("connect to the system bus", code);
  Systemd systemd({bus, {}}, patience);
  if (const int code = sd_bus_set_method_call_timeout(bus, static_cast<std::uint64_t>(std::chrono::microseconds(patience).count()));
      code < 0)
    return failed("set the patience", code);
  if (auto ready = systemd.until([&] { return sd_bus_is_ready(bus); }, "greet the system bus"); !ready)
    return std::unexpected(ready.error());
  BusError error;
  int code = 0;
  const Text version = text_from(
      [&](char** text) { return code = sd_bus_get_property_string(bus, kService, kManagerPath, kManager, "Version", &error.value, text); });
  if (!version) return failed("ask for the version", code, &error.value);
  systemd.version_ = version.get();
  return systemd;
}

core::Result<bool> Systemd::delegated_us_our_group() {
  const Text unit = text_from([](char** text) { return sd_pid_get_unit(0, text); });
  const Text group = text_from([](char** text) { return sd_pid_get_cgroup(0, text); });
  if (!unit || !group) return false;
  const std::string_view name = unit.get();
  const char* interface = name.ends_with(".service") ? "org.freedesktop.systemd1.Service"
                          : name.ends_with(".scope") ? "org.freedesktop.systemd1.Scope"
                                                     : nullptr;
  if (interface == nullptr) return false;
  const Text path = text_from([&](char** text) { return sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.get(), text); });
  if (!path) return failed("name the unit", -ENOMEM);
  BusError error;
  int code = 0, delegated = 0;
  code = sd_bus_get_property_trivial(bus_.get(), kService, path.get(), interface, "Delegate", &error.value, 'b', &delegated);
  if (code < 0) return failed("ask about " + std::string(name), code, &error.value);
  const Text of_unit = text_from([&](char** text) {
    return code = sd_bus_get_property_string(bus_.get(), kService, path.get(), interface, "ControlGroup", &error.value, text);
  });
  if (!of_unit) return failed("ask about " + std::string(name), code, &error.value);
  return delegated != 0 && std::string_view(of_unit.get()) == group.get();
}

core::Status Systemd::start_scope(pid_t process) {
  Job job{"bailiff-" + std::to_string(process) + ".scope", std::nullopt};
  const std::string what = "make " + job.unit;
  sd_bus_slot* made = nullptr;
  BusError error;
  // Subscribed before the job exists, so its end cannot be missed.
  int code = sd_bus_match_signal(bus_.get(), &made, kService, kManagerPath, kManager, "JobRemoved", on_job_removed, &job);
  const std::unique_ptr<sd_bus_slot, Unref> match(made);
  if (code >= 0) code = sd_bus_call_method(bus_.get(), kService, kManagerPath, kManager, "Subscribe", &error.value, nullptr, "");
  sd_bus_message* call = nullptr;
  if (code >= 0) code = sd_bus_message_new_method_call(bus_.get(), &call, kService, kManagerPath, kManager, "StartTransientUnit");
  const Message request(call);
  if (code >= 0) code = sd_bus_message_append(call, "ss", job.unit.c_str(), "fail");
  if (code >= 0) code = append_properties(call, process);
  if (code >= 0) code = sd_bus_message_append(call, "a(sa(sv))", 0);
  if (code >= 0) code = sd_bus_call(bus_.get(), call, 0, &error.value, nullptr);
  if (code < 0) return failed(what, code, &error.value);
  if (auto ended = until([&] { return job.result ? 1 : 0; }, what); !ended) return ended;
  if (*job.result != "done") return core::error(core::ErrorKind::unavailable, what + ": its job ended as \"" + *job.result + "\"");
  const auto groups = hierarchies_of(std::to_string(process));
  if (!groups) return std::unexpected(groups.error());
  if (const auto missing = missing_from_scope(*groups, job.unit); !missing.empty())
    return core::error(core::ErrorKind::unavailable,
                       what + ": systemd did not delegate " + missing +
                           " to it. Boot with systemd.unified_cgroup_hierarchy=1, or set cgroup.driver to cgroupfs");
  return {};
}

std::string missing_from_scope(const CgroupHierarchies& process_groups, const std::string& unit) {
  std::string missing;
  for (const auto& controller : kControllers)
    if (controller.required && !(process_groups.*controller.path).ends_with("/" + unit))
      missing += (missing.empty() ? "" : ", ") + std::string(controller.name);
  return missing;
}

}  // namespace bailiff::sandbox
