#include "server/step_plan.h"

#include <fmt/core.h>

#include <cstring>
#include <map>

#include "server/blob_content.h"

namespace bailiff::server {
namespace {

using core::Verdict;

core::Limits effective(core::Limits base, std::initializer_list<const core::LimitOverrides*> layers, const core::Limits& ceiling) {
  for (const auto* layer : layers) base = core::apply(base, *layer);
  return core::at_most(base, ceiling);
}

/// What a program finds in its environment beside the rest where it has a terminal.
core::Environment terminal_of(const core::JobSpec& spec) {
  if (spec.interactive != core::Interactive::terminal) return {};
  return {{"TERM", "xterm-256color"}};
}

core::Limits compile_limits(const images::Language& language, const LimitLevels& levels) {
  return effective(levels.compile, {&language.compile_limits}, levels.ceiling);
}

core::Limits run_limits(const core::JobSpec& spec, const images::Language& language, const LimitLevels& levels) {
  return effective(images::scaled(levels.step, language), {&language.limits, &spec.limits}, levels.ceiling);
}

core::Limits step_limits(const core::JobSpec& spec, const core::StepSpec& step, const LimitLevels& levels) {
  return effective(levels.step, {&spec.limits, &step.limits}, levels.ceiling);
}

void plan_language(JobPlan& plan, const core::JobSpec& spec, const images::Language& language, const images::Image& image,
                   const LimitLevels& levels) {
  const auto terminal = terminal_of(spec);
  const auto env = environment_of({&terminal, &image.env, &language.env, &spec.env});
  if (!language.compile.empty()) {
    plan.compile_step = 0;
    plan.steps.push_back({"compile", language.compile, env, "", compile_limits(language, levels), {}, false});
  }
  auto command = language.run;
  command.insert(command.end(), spec.args.begin(), spec.args.end());
  const PlannedStep run{"run", command, env, "", run_limits(spec, language, levels), spec.stdin_content.bytes, false, spec.interactive};
  if (spec.tests.empty()) plan.steps.push_back(run);
  for (const auto& test : spec.tests) {
    PlannedStep step = run;
    step.name = test.name;
    step.limits = effective(images::scaled(levels.step, language), {&language.limits, &spec.limits, &test.limits}, levels.ceiling);
    step.stdin_bytes = test.stdin_content.bytes;
    plan.tests.push_back(std::move(step));
  }
  std::map<std::string_view, std::string_view> files;
  for (const auto& [path, content] : spec.files) files[path] = content.bytes;
  if (spec.source) files[language.source_file] = spec.source->bytes;
  for (const auto& [path, bytes] : files) plan.files.push_back({path, bytes});
}

/// As a container runs it: behind the image's entrypoint. A shell command is the whole of what is to be run.
std::vector<std::string> command_in(const images::Image& image, const std::vector<std::string>& command) {
  const bool is_shell = command.size() == 3 && command[0] == "/bin/sh" && command[1] == "-c";
  auto whole = is_shell ? std::vector<std::string>{} : image.entrypoint;
  whole.insert(whole.end(), command.begin(), command.end());
  return whole;
}

/// The image's working directory, relative to /work; empty where it lies elsewhere, for nothing else can be written to.
std::string workdir_of(const images::Image& image) {
  constexpr std::string_view kWork = "/work/";
  if (!image.workdir.starts_with(kWork)) return "";
  std::string path = image.workdir.substr(kWork.size());
  while (path.ends_with('/')) path.pop_back();
  return path;
}

void plan_steps(JobPlan& plan, const core::JobSpec& spec, const images::Image& image, const LimitLevels& levels) {
  const auto terminal = terminal_of(spec);
  for (const auto& step : spec.steps)
    plan.steps.push_back({step.name, command_in(image, step.command), environment_of({&terminal, &image.env, &spec.env, &step.env}),
                          step.cwd.empty() ? workdir_of(image) : step.cwd, step_limits(spec, step, levels), step.stdin_content.bytes,
                          step.always});
  if (!plan.steps.empty()) plan.steps.back().interactive = spec.interactive;
  for (const auto& [path, content] : spec.files) plan.files.push_back({path, content.bytes});
}

std::string signal_text(int number) {
  const char* short_name = ::sigabbrev_np(number);
  const char* long_name = ::sigdescr_np(number);
  if (short_name == nullptr) return fmt::format("killed by signal {}", number);
  return fmt::format("killed by signal {} (SIG{}: {})", number, short_name, long_name);
}

double milliseconds(std::uint64_t microseconds) { return static_cast<double>(microseconds) / 1000; }

}  // namespace

std::vector<std::string> environment_of(std::initializer_list<const core::Environment*> layers) {
  static const core::Environment base = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/tmp"}, {"LANG", "C.UTF-8"}};
  core::Environment merged = base;
  for (const auto* layer : layers)
    for (const auto& [name, value] : *layer) merged[name] = value;
  std::vector<std::string> entries;
  for (const auto& [name, value] : merged) entries.push_back(name + "=" + value);
  return entries;
}

core::Limits placing_limits(const core::JobSpec& spec, const images::Language* language, const LimitLevels& levels) {
  if (language == nullptr) return step_limits(spec, spec.steps.front(), levels);
  return language->compile.empty() ? run_limits(spec, *language, levels) : compile_limits(*language, levels);
}

core::Result<JobPlan> plan_job(const core::JobSpec& spec, const images::Catalogue& catalogue, const LimitLevels& levels) {
  const auto impossible = [](std::string why) { return core::error(core::ErrorKind::invalid, std::move(why)); };
  if (names_blobs(spec)) return impossible("a blob of the job was not read");
  JobPlan plan;
  const images::Language* language = spec.language ? catalogue.find_language(*spec.language) : nullptr;
  if (spec.language && language == nullptr) return impossible(fmt::format("the language {} is not offered here any more", *spec.language));
  const std::string name = language != nullptr ? language->image : spec.image.value_or("");
  const auto image = catalogue.find_image(name);
  if (image == nullptr) return impossible(fmt::format("the image {} is not offered here any more", name));
  plan.image = image->sandbox_name();
  if (language != nullptr) plan_language(plan, spec, *language, *image, levels);
  else plan_steps(plan, spec, *image, levels);
  if (plan.steps.empty() && plan.tests.empty()) return impossible("the job has no steps");
  if (spec.archive) plan.archive = spec.archive->bytes;
  return plan;
}

std::string describe(const core::Outcome& outcome, const core::Limits& limits) {
  if (!outcome.message.empty()) return outcome.message;
  switch (outcome.verdict) {
    case Verdict::ok:
    case Verdict::accepted: return "";
    case Verdict::runtime_error:
      if (outcome.signal) return signal_text(*outcome.signal);
      if (outcome.exit_code) return fmt::format("exited with code {}", *outcome.exit_code);
      return "did not start";
    case Verdict::time_limit_exceeded: return fmt::format("used more than {} ms of CPU time", milliseconds(limits.cpu_time_us));
    case Verdict::wall_time_limit_exceeded: return fmt::format("took longer than {} ms", milliseconds(limits.wall_time_us));
    case Verdict::memory_limit_exceeded: return fmt::format("used more than {} bytes of memory", limits.memory_bytes);
    case Verdict::output_limit_exceeded: return fmt::format("wrote more than {} bytes to stdout or stderr", limits.output_bytes);
    case Verdict::wrong_answer: return "wrong answer";
    case Verdict::cancelled: return "cancelled";
    case Verdict::compile_error: return "compilation failed";
    case Verdict::internal_error: return "the server could not run it";
  }
  return "";
}

}  // namespace bailiff::server
