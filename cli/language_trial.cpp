#include "cli/language_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "cli/run.h"
#include "sandbox/tree.h"

namespace bailiff::cli {
namespace {

constexpr const char* kGreeting = "Hello, world!";
constexpr const char* kInput = "17\n42\n";  // numbers, for languages that read nothing else
constexpr std::uint64_t kTimeUs = 1'000'000, kMemoryBytes = 128 * core::kMiB;  // times the language's factors: enough to start in
constexpr std::uint64_t kPatience = 4;  // CPU time and memory are what is tried; how long that takes is for the rest of the machine to say

struct Expectation {
  std::string_view program;
  core::Verdict verdict = core::Verdict::ok;
  std::string output;  // word by word; empty: any
};

std::vector<Expectation> expectations() {
  using core::Verdict;
  return {{"hello", Verdict::ok, kGreeting},
          {"stdin", Verdict::ok, kInput},
          {"compile_error", Verdict::compile_error, ""},
          {"runtime_error", Verdict::runtime_error, ""},
          {"time_limit", Verdict::time_limit_exceeded, ""},
          {"memory_limit", Verdict::memory_limit_exceeded, ""}};
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

/// Default limits, but for the limit that is to be met: met sooner.
core::Limits limits_for(std::string_view program, const images::Language& language) {
  auto limits = program_request(language).limits;
  limits.wall_time_us *= kPatience;
  if (program == "time_limit")
    limits.cpu_time_us = std::min(limits.cpu_time_us, static_cast<std::uint64_t>(kTimeUs * language.time_factor));
  if (program == "memory_limit")
    limits.memory_bytes = std::min(limits.memory_bytes, static_cast<std::uint64_t>(kMemoryBytes * language.memory_factor));
  return limits;
}

/// What the program said about itself, for a person: the end of it is where compilers and interpreters put the reason.
std::string last_words(const std::vector<core::StepResult>& steps) {
  if (steps.empty()) return "";
  const auto& step = steps.back();
  std::string text = step.stderr_bytes.empty() ? step.stdout_bytes : step.stderr_bytes;
  if (text.size() > 300) text = "…" + text.substr(text.size() - 300);
  std::ranges::replace(text, '\n', ' ');
  return step.outcome.message + (step.outcome.message.empty() || text.empty() ? "" : "; ") + text;
}

/// Empty where it went as it should.
std::string fault_of(const Expectation& expected, const std::vector<core::StepResult>& steps, bool compiled) {
  const core::Verdict verdict = verdict_of_run(steps, compiled);
  if (verdict != expected.verdict)
    return fmt::format("{}: {} instead of {} ({})", expected.program, core::name(verdict), core::name(expected.verdict), last_words(steps));
  if (!expected.output.empty() && words(steps.back().stdout_bytes) != words(expected.output))
    return fmt::format("{}: another output ({})", expected.program, last_words(steps));
  return "";
}

bool is_left_out(const images::Language& language, std::string_view program) {
  return (program == "compile_error" && language.compile.empty()) || std::ranges::find(language.lacks, program) != language.lacks.end();
}

}  // namespace

Expected<std::optional<std::string>> version_in(LocalSlot& slot, const images::Language& language) {
  const auto step = slot.step("version", tool_request(language, language.version_command));
  if (!step) return std::unexpected(step.error());
  if (step->outcome.verdict == core::Verdict::cancelled) return failure(kExitCancelled, "cancelled");
  if (step->outcome.verdict != core::Verdict::ok) return std::nullopt;
  return images::first_line(step->stdout_bytes.empty() ? step->stderr_bytes : step->stdout_bytes);
}

Expected<std::vector<core::StepResult>> run_program(LocalSlot& slot, const images::Language& language, const std::string& source,
                                                    const std::string& input, const core::Limits& limits) {
  sandbox::TreeWriter writer;
  const auto added = writer.add_file(language.source_file, source);
  if (!added) return std::unexpected(sandbox_failure(added.error()));
  auto tree = writer.finish();
  auto bytes = sandbox::sealed_memfd(input);
  if (!tree || !bytes) return std::unexpected(sandbox_failure(!tree ? tree.error() : bytes.error()));
  std::vector<core::StepResult> steps;
  const bool compiled = !language.compile.empty();
  auto run = program_request(language);
  run.limits = limits;
  run.stdin_fd = std::move(*bytes);
  run.keep_previous_workspace = compiled;
  if (compiled) {
    auto compile = tool_request(language, language.compile);
    compile.limits.wall_time_us *= kPatience;
    compile.trees.push_back(std::move(*tree));
    compile.keep_workspace = true;
    auto step = slot.step("compile", std::move(compile));
    if (!step) return std::unexpected(std::move(step.error()));
    steps.push_back(std::move(*step));
    if (steps.back().outcome.verdict != core::Verdict::ok) return steps;
  } else {
    run.trees.push_back(std::move(*tree));
  }
  auto step = slot.step("run", std::move(run));
  if (!step) return std::unexpected(std::move(step.error()));
  steps.push_back(std::move(*step));
  return steps;
}

Expected<Trial> try_language(LocalSlot& slot, const images::Language& language) {
  Trial trial{.name = language.name, .title = language.title, .aliases = language.aliases, .image = language.image, .present = true};
  trial.limits = program_request(language).limits;
  std::vector<std::string> done, faults;
  for (const Expectation& expected : expectations()) {
    if (is_left_out(language, expected.program)) continue;
    const auto found = language.programs.find(std::string(expected.program));
    if (expected.program != "hello" && found == language.programs.end()) {
      faults.push_back(fmt::format("{}: the definition has no such program", expected.program));
      continue;
    }
    const std::string& source = expected.program == "hello" ? language.hello : found->second;
    auto steps = run_program(slot, language, source, kInput, limits_for(expected.program, language));
    if (!steps) return std::unexpected(std::move(steps.error()));
    if (steps->back().outcome.verdict == core::Verdict::cancelled) return failure(kExitCancelled, "cancelled");
    if (expected.program == "hello" && steps->size() == 2) trial.hello_compile = steps->front().outcome.usage;
    if (expected.program == "hello") trial.hello = steps->back().outcome.usage;
    if (auto fault = fault_of(expected, *steps, !language.compile.empty()); !fault.empty()) faults.push_back(std::move(fault));
    else done.emplace_back(expected.program);
  }
  trial.passed = faults.empty();
  trial.detail = faults.empty() ? fmt::format("{}", fmt::join(done, " ")) : fmt::format("{}", fmt::join(faults, "; "));
  return trial;
}

}  // namespace bailiff::cli
