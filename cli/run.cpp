#include "cli/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/language_trial.h"
#include "cli/local_sandbox.h"
#include "cli/render.h"
#include "core/json/json.h"
#include "sandbox/tree.h"

namespace bailiff::cli {
namespace {

Expected<core::Fd> source_tree(const images::Language& language, const std::string& source) {
  sandbox::TreeWriter tree;
  auto added = tree.add_file(language.source_file, source);
  if (!added) return std::unexpected(sandbox_failure(added.error()));
  auto sealed = tree.finish();
  if (!sealed) return std::unexpected(sandbox_failure(sealed.error()));
  return std::move(*sealed);
}

Expected<core::Fd> program_input(const RunOptions& options, const Console& console) {
  Expected<std::string> bytes;
  if (options.stdin_file) {
    bytes = read_input(*options.stdin_file);
  } else if (::fcntl(STDIN_FILENO, F_GETFD) >= 0) {
    if (::isatty(STDIN_FILENO) == 1 && !options.json)
      (void)console.err.write("bailiff: the program's input is read from here; Ctrl-D ends it\n");
    bytes = read_descriptor(STDIN_FILENO, "standard input");
  }
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  auto sealed = sandbox::sealed_memfd(*bytes);
  if (!sealed) return std::unexpected(sandbox_failure(sealed.error()));
  return std::move(*sealed);
}

/// The compile step, where there is one, and then the run step. `version`, where it is not known yet and will be told: as the tools say it.
Expected<std::vector<core::StepResult>> run_steps(const images::Language& language, const RunOptions& options, const std::string& source,
                                                  std::string& version, const Console& console) {
  auto slot = LocalSlot::start({language.image}, options.cgroup_driver, options.images_directory);
  if (!slot) return std::unexpected(std::move(slot.error()));
  if (options.json && version.empty()) {
    auto said = version_in(*slot, language);
    if (!said) return std::unexpected(std::move(said.error()));
    version = said->value_or("");
  }
  std::vector<core::StepResult> steps;
  const bool compiled = !language.compile.empty();
  auto tree = source_tree(language, source);
  if (!tree) return std::unexpected(std::move(tree.error()));
  if (compiled) {
    auto compile = tool_request(language, language.compile);
    compile.trees.push_back(std::move(*tree));
    compile.keep_workspace = true;
    auto step = slot->step("compile", std::move(compile));
    if (!step) return std::unexpected(std::move(step.error()));
    steps.push_back(std::move(*step));
    if (steps.back().outcome.verdict != core::Verdict::ok) return steps;
  }
  // Only now: nobody wants to type the input of a program that does not compile.
  auto input = program_input(options, console);
  if (!input) return std::unexpected(std::move(input.error()));
  auto run = program_request(language);
  run.argv.insert(run.argv.end(), options.args.begin(), options.args.end());
  run.limits = core::apply(run.limits, options.limits);
  run.stdin_fd = std::move(*input);
  run.keep_previous_workspace = compiled;
  if (!compiled) run.trees.push_back(std::move(*tree));
  auto step = slot->step("run", std::move(run));
  if (!step) return std::unexpected(std::move(step.error()));
  steps.push_back(std::move(*step));
  return steps;
}

core::Json document(const images::Language& language, const std::string& version, const std::string& digest,
                    const std::vector<core::StepResult>& steps) {
  const core::Verdict verdict = verdict_of_run(steps, !language.compile.empty());
  core::Json job = {{"state", "finished"},
                    {"verdict", core::name(verdict)},
                    {"message", nullptr},
                    {"language", language.name},
                    {"language_version", version.empty() ? core::Json(nullptr) : core::Json(core::to_utf8(version))},
                    {"image", language.image}};
  if (!digest.empty()) job["image_digest"] = digest;
  job["steps"] = core::Json::array();
  for (const auto& step : steps) {
    job["steps"].push_back(core::to_json(step));
    if (!step.outcome.message.empty()) job["message"] = core::to_utf8(step.outcome.message);
  }
  return job;
}

Expected<ExitCode> print_result(const core::Json& job, const std::vector<core::StepResult>& steps, bool json, const Console& console) {
  const ExitCode code = exit_code(verdict_of(job));
  core::Status written;
  if (json) {
    written = console.out.write(job.dump(2, ' ', false, core::Json::error_handler_t::replace) + "\n");
  } else {
    for (const auto& step : steps) {
      // What a compiler says belongs to the person, not into the program's output.
      const Stream& out = step.name == "run" ? console.out : console.err;
      written = written ? out.write_program_output(step.stdout_bytes) : written;
      written = written ? console.err.write_program_output(step.stderr_bytes) : written;
    }
    const auto told = console.err.write(fmt::format("bailiff: {}\n", summary(job, console.err.paint())));
    written = written ? told : written;
  }
  if (!written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  return code;
}

std::string offered(const images::Catalogue& catalogue) {
  std::vector<std::string> names;
  for (const auto& language : catalogue.languages()) names.push_back(language.name);
  return fmt::format("this machine has: {}", fmt::join(names, " "));
}

}  // namespace

core::Result<images::Catalogue> local_catalogue(const std::string& definitions, const std::string& images_directory) {
  auto host = images::host_image();
  if (!host) return std::unexpected(std::move(host.error()));
  std::vector<images::Image> all = {std::move(*host)};
  if (::access(images_directory.c_str(), R_OK | X_OK) == 0)
    if (const auto store = images::ImageStore::open(images_directory))
      if (const auto stored = store->list())
        for (const auto& image : *stored) all.push_back(images::image_of(image));
  const auto probe = [](const images::Language& language) -> std::optional<std::string> {
    if (language.image != "host") return "";
    for (const auto* argv : {&language.version_command, &language.compile, &language.run})
      if (!argv->empty() && !argv->front().starts_with("./") && !images::find_host_tool(argv->front(), language.env)) return std::nullopt;
    return "";
  };
  return images::Catalogue::load(definitions.empty() ? images::default_definitions_directory() : definitions, std::move(all), probe);
}

Expected<images::Language> choose_language(const images::Catalogue& catalogue, const RunOptions& options) {
  const std::string wanted = options.language.empty() ? extension(options.file) : options.language;
  if (wanted.empty())
    return failure(kExitUsage, fmt::format("{}: the name does not tell the language", options.file),
                   "add --language NAME; " + offered(catalogue));
  const images::Language* found = catalogue.find_language(wanted);
  if (found == nullptr)
    return failure(kExitUsage, fmt::format("\"{}\" is no language that can be run here", wanted),
                   "install its tools (`bailiff doctor` names them); " + offered(catalogue));
  images::Language language = *found;
  if (!options.image.empty()) language.image = options.image;
  if (catalogue.find_image(language.image) == nullptr && !language.image.starts_with('/'))
    return failure(kExitUsage, fmt::format("there is no image \"{}\"", language.image),
                   "use host, a name of `bailiff image list`, or the absolute path of an unpacked root filesystem");
  return language;
}

core::Verdict verdict_of_run(const std::vector<core::StepResult>& steps, bool compiled) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const core::Verdict verdict = steps[i].outcome.verdict;
    if (verdict == core::Verdict::ok) continue;
    const bool ours = verdict == core::Verdict::internal_error || verdict == core::Verdict::cancelled;
    return compiled && i == 0 && !ours ? core::Verdict::compile_error : verdict;
  }
  return core::Verdict::ok;
}

Expected<ExitCode> run_local(const RunOptions& options, const Console& console) {
  if (auto checked = check_limits(options.limits); !checked) return std::unexpected(std::move(checked.error()));
  auto catalogue = local_catalogue(options.definitions, options.images_directory);
  if (!catalogue)
    return failure(kExitInternal, "the language definitions cannot be used: " + catalogue.error().what,
                   "name their directory by --definitions DIR");
  auto language = choose_language(*catalogue, options);
  if (!language) return std::unexpected(std::move(language.error()));
  auto source = read_input(options.file);
  if (!source) return std::unexpected(std::move(source.error()));
  if (::geteuid() != 0)
    return failure(kExitNoPermission, "running a program on this machine needs root, which makes the sandbox's namespaces and cgroups",
                   "run it by sudo, or let a server do it: bailiff submit FILE --wait");
  const auto image = catalogue->find_image(language->image);
  images::Language placed = *language;
  core::Result<core::Fd> held;
  if (image != nullptr) {
    placed.image = image->sandbox_name();
    placed.env.insert(image->env.begin(), image->env.end());
  }
  if (image != nullptr && image->kind == "erofs") {
    const auto store = images::ImageStore::open(options.images_directory);
    held = store ? store->hold(image->digest) : std::unexpected(store.error());
    if (!held) return failure(kExitInternal, "the image cannot be used: " + held.error().what);
  }
  std::string version;
  if (image != nullptr)
    if (const auto known = image->versions.find(language->name); known != image->versions.end()) version = known->second.version;
  auto steps = run_steps(placed, options, *source, version, console);
  if (!steps) return std::unexpected(std::move(steps.error()));
  return print_result(document(*language, version, image == nullptr ? "" : image->digest, *steps), *steps, options.json, console);
}

}  // namespace bailiff::cli
