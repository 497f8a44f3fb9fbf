#include "sandbox/message.h"

#include <algorithm>

#include "sandbox/image_mounts.h"
#include "sandbox/wire.h"

namespace bailiff::sandbox {
namespace {

std::unexpected<core::Error> refused(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

bool has_nul(const std::vector<std::string>& texts) {
  return std::any_of(texts.begin(), texts.end(), [](const std::string& text) { return text.find('\0') != text.npos; });
}

void put_outcome(WireWriter& out, const core::Outcome& outcome) {
  out.put(static_cast<std::uint32_t>(outcome.verdict));
  out.put(outcome.exit_code.has_value());
  out.put(outcome.exit_code.value_or(0));
  out.put(outcome.signal.has_value());
  out.put(outcome.signal.value_or(0));
  out.put_string(outcome.message);
  out.put(outcome.usage);
  out.put(static_cast<std::uint32_t>(outcome.evidence.size()));
  for (const auto& [name, value] : outcome.evidence) {
    out.put_string(name);
    out.put(value);
  }
  out.put(outcome.stdout_truncated);
  out.put(outcome.stderr_truncated);
  out.put_values(outcome.samples);
}

core::Outcome take_outcome(WireReader& in) {
  core::Outcome outcome;
  outcome.verdict = static_cast<core::Verdict>(std::min<std::uint32_t>(in.take<std::uint32_t>(), core::kVerdictNames.size() - 1));
  const bool exited = in.take<bool>();
  const int exit_code = in.take<int>();
  if (exited) outcome.exit_code = exit_code;
  const bool signalled = in.take<bool>();
  const int signal = in.take<int>();
  if (signalled) outcome.signal = signal;
  outcome.message = in.take_string();
  outcome.usage = in.take<core::Usage>();
  const auto count = std::min<std::uint32_t>(in.take<std::uint32_t>(), 64);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto name = in.take_string();
    outcome.evidence.emplace_back(std::move(name), in.take<std::int64_t>());
  }
  outcome.stdout_truncated = in.take<bool>();
  outcome.stderr_truncated = in.take<bool>();
  outcome.samples = in.take_values<core::UsageSample>();
  return outcome;
}

}  // namespace

std::string encode_request(const StepRequest& request) {
  WireWriter out;
  out.put_string(request.image);
  out.put_strings(request.argv);
  out.put_strings(request.env);
  out.put_string(request.cwd);
  out.put(request.limits);
  out.put<std::uint8_t>(request.keep_previous_workspace);
  out.put<std::uint8_t>(request.keep_workspace);
  out.put_strings(request.collect);
  out.put(request.collect_bytes);
  out.put(request.input);
  return out.bytes();
}

core::Result<StepRequest> decode_request(std::string_view bytes) {
  WireReader in(bytes);
  StepRequest request;
  request.image = in.take_string();
  request.argv = in.take_strings();
  request.env = in.take_strings();
  request.cwd = in.take_string();
  request.limits = in.take<core::Limits>();
  request.keep_previous_workspace = in.take<std::uint8_t>() != 0;
  request.keep_workspace = in.take<std::uint8_t>() != 0;
  request.collect = in.take_strings();
  request.collect_bytes = in.take<std::uint64_t>();
  request.input = in.take<StepInput>();
  if (!in.complete()) return refused("malformed step request");
  return request;
}

core::Status check_command(const std::vector<std::string>& argv, const std::vector<std::string>& env) {
  if (argv.empty() || argv.front().empty()) return refused("empty command");
  if (has_nul(argv) || has_nul(env)) return refused("NUL byte in command or environment");
  for (const auto& variable : env)
    if (variable.find('=') == variable.npos || variable.front() == '=') return refused("environment entry without a name");
  return {};
}

core::Status check_request(const StepRequest& request, const LauncherConfig& config) {
  const auto same_name = [&](const Image& image) { return image.name == request.image; };
  const bool stored = !config.images_directory.empty() && is_stored_image(request.image);
  if (!stored && std::none_of(config.images.begin(), config.images.end(), same_name)) return refused("unknown image: " + request.image);
  if (auto sane = check_command(request.argv, request.env); !sane) return sane;
  if (has_nul(request.collect)) return refused("NUL byte in a glob");
  if (request.input > StepInput::terminal) return refused("unknown kind of input");
  if (!request.cwd.empty() && !is_safe_relative_path(request.cwd)) return refused("unsafe working directory");
  for (const auto& field : core::kLimitFields) {
    const auto value = request.limits.*field.member;
    if (field.order(value) > field.order(config.ceiling.*field.member))
      return refused(std::string("limit above the launcher's ceiling: ") + field.name);
    if (field.order(value) < field.order(field.floor)) return refused(std::string("limit below its floor: ") + field.name);
  }
  return {};
}

std::string encode_report(const core::Result<StepReport>& report) {
  WireWriter out;
  if (!report) {
    out.put(kErrorMessage);
    out.put(static_cast<std::uint32_t>(report.error().kind));
    out.put_string(report.error().what);
    return out.bytes();
  }
  out.put(kOutcomeMessage);
  put_outcome(out, report->outcome);
  out.put(report->collect_truncated);
  return out.bytes();
}

core::Result<StepReport> decode_report(std::string_view bytes) {
  WireReader in(bytes);
  const auto type = in.take<char>();
  if (type == kErrorMessage) {
    const auto kind = static_cast<core::ErrorKind>(std::min<std::uint32_t>(in.take<std::uint32_t>(), 4));
    auto what = in.take_string();
    if (in.complete()) return core::error(kind, std::move(what));
  }
  StepReport report;
  if (type == kOutcomeMessage) {
    report.outcome = take_outcome(in);
    report.collect_truncated = in.take<bool>();
    if (in.complete()) return report;
  }
  return core::error(core::ErrorKind::unavailable, "malformed report from a slot");
}

std::string encode_config(const LauncherConfig& config) {
  WireWriter out;
  out.put(config.slots);
  out.put(static_cast<std::uint32_t>(config.images.size()));
  for (const auto& image : config.images) {
    out.put_string(image.name);
    out.put(image.kind);
    out.put_string(image.path);
  }
  out.put_string(config.images_directory);
  out.put(config.ceiling);
  out.put(config.uid_base);
  out.put_string(config.cgroup_parent);
  out.put(config.net_marks);
  out.put(config.clock_start_s);
  out.put(config.cgroup_driver);
  out.put_strings(config.slot_cpus);
  return out.bytes();
}

core::Result<LauncherConfig> decode_config(std::string_view bytes) {
  WireReader in(bytes);
  LauncherConfig config;
  config.slots = in.take<unsigned>();
  const auto images = in.take<std::uint32_t>();
  for (std::uint32_t i = 0; i < images && i < 4096; ++i) {
    Image image;
    image.name = in.take_string();
    image.kind = in.take<Image::Kind>();
    image.path = in.take_string();
    config.images.push_back(std::move(image));
  }
  config.images_directory = in.take_string();
  config.ceiling = in.take<core::Limits>();
  config.uid_base = in.take<std::uint32_t>();
  config.cgroup_parent = in.take_string();
  config.net_marks = in.take<NetMarks>();
  config.clock_start_s = in.take<std::uint64_t>();
  config.cgroup_driver = in.take<CgroupDriver>();
  config.slot_cpus = in.take_strings();
  if (!in.complete() || config.slots < 1 || config.slots > 1024 || config.clock_start_s > kMaxClockStartS)
    return refused("malformed launcher configuration");
  return config;
}

}  // namespace bailiff::sandbox
