#include "cli/language.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "cli/render.h"

namespace bailiff::cli {
namespace {

constexpr const char* kAbsent = "absent";

struct Selection {
  std::vector<images::Language> languages;
  std::vector<images::Image> images;
  std::vector<core::Fd> held;  // contents of the images, which stay while the test runs
};

Expected<std::vector<images::Language>> chosen_languages(const LanguageTestOptions& options) {
  auto all = images::read_definitions(options.definitions.empty() ? images::default_definitions_directory() : options.definitions);
  if (!all)
    return failure(kExitInternal, "the language definitions cannot be used: " + all.error().what,
                   "name their directory by --definitions DIR");
  if (options.names.empty()) return std::move(*all);
  std::vector<images::Language> chosen;
  for (const std::string& name : options.names) {
    const auto found =
        std::ranges::find_if(*all, [&](const auto& l) { return l.name == name || std::ranges::find(l.aliases, name) != l.aliases.end(); });
    if (found == all->end()) return failure(kExitUsage, fmt::format("there is no definition of a language \"{}\"", name));
    chosen.push_back(*found);
  }
  return chosen;
}

bool has_images(const LanguageTestOptions& options) { return ::access(options.images_directory.c_str(), R_OK | X_OK) == 0; }

Expected<Selection> select(const LanguageTestOptions& options) {
  auto languages = chosen_languages(options);
  if (!languages) return std::unexpected(std::move(languages.error()));
  Selection selection{std::move(*languages), {}, {}};
  auto host = images::host_image();
  if (!host) return failure(kExitInternal, host.error().what);
  selection.images.push_back(std::move(*host));
  std::set<std::string> wanted = {options.image};
  for (auto& language : selection.languages) wanted.insert(language.image);
  if (has_images(options)) {
    const auto store = images::ImageStore::open(options.images_directory);
    const auto stored = store ? store->list() : std::unexpected(store.error());
    if (!stored) return failure(kExitInternal, stored.error().what);
    for (const auto& image : *stored) {
      if (!wanted.contains(image.name)) continue;
      auto content = store->hold(image.digest);
      if (!content) return failure(kExitInternal, "the image cannot be used: " + content.error().what);
      selection.images.push_back(images::image_of(image));
      selection.held.push_back(std::move(*content));
    }
  }
  if (options.image.empty()) return selection;
  if (std::ranges::find(selection.images, options.image, &images::Image::name) == selection.images.end())
    return failure(kExitNotFound, fmt::format("there is no image \"{}\"", options.image), "`bailiff image list` shows what there is");
  std::erase_if(selection.images, [&](const auto& image) { return image.name != options.image; });
  for (auto& language : selection.languages) language.image = options.image;
  return selection;
}

/// As it is run: in the image's environment, the image by its name in the sandbox.
images::Language placed(images::Language language, const images::Image& image) {
  language.image = image.sandbox_name();
  language.env.insert(image.env.begin(), image.env.end());
  return language;
}

bool may_be_in(const images::Image& image, const images::Language& language) {
  if (image.kind != "host") return true;
  return std::ranges::all_of(std::array{&language.version_command, &language.compile, &language.run}, [&](const auto* argv) {
    return argv->empty() || argv->front().starts_with("./") || images::find_host_tool(argv->front(), language.env);
  });
}

/// In the first image that has its tools.
Expected<Trial> try_in_images(LocalSlot& slot, const images::Language& language, const std::vector<images::Image>& images) {
  for (const auto* image : images::candidates(language, images)) {
    if (!may_be_in(*image, language)) continue;
    const auto here = placed(language, *image);
    const auto version = version_in(slot, here);
    if (!version) return std::unexpected(version.error());
    if (!*version) continue;
    auto trial = try_language(slot, here);
    if (!trial) return trial;
    trial->image = image->name;
    trial->version = **version;
    return trial;
  }
  Trial absent{.name = language.name, .title = language.title, .aliases = language.aliases, .image = language.image};
  absent.detail = fmt::format("{}: no image here has its tools (bailiff image build {}, or apt-get install {})", kAbsent, language.image,
                              fmt::join(language.packages, " "));
  return absent;
}

std::size_t count(const std::vector<Trial>& trials, bool present, bool passed) {
  return static_cast<std::size_t>(
      std::ranges::count_if(trials, [&](const Trial& trial) { return trial.present == present && trial.passed == passed; }));
}

std::string cell(std::string text) {
  std::string escaped;
  for (const char c : sanitise_line(text)) escaped += c == '|' ? "\\|" : std::string(1, c);
  return escaped;
}

}  // namespace

Expected<ExitCode> test_languages(const LanguageTestOptions& options, const Console& console) {
  auto selection = select(options);
  if (!selection) return std::unexpected(std::move(selection.error()));
  if (::geteuid() != 0)
    return failure(kExitNoPermission, "programs run on this machine by root alone, who makes the sandbox's namespaces and cgroups",
                   "run it by sudo");
  std::set<std::string> names;
  for (const auto& image : selection->images) names.insert(image.sandbox_name());
  if (!has_images(options))
    (void)console.err.write(
        fmt::format("{}: no images here, so only what this machine has is tried; `bailiff image build NAME` makes one\n",
                    sanitise_line(options.images_directory)));
  auto slot = LocalSlot::start({names.begin(), names.end()}, options.cgroup_driver, has_images(options) ? options.images_directory : "");
  if (!slot) return std::unexpected(std::move(slot.error()));
  std::vector<Trial> trials;
  for (const auto& language : selection->languages) {
    if (console.err.is_terminal())
      (void)console.err.write(
          fmt::format("\r\x1b[K{}/{} {}", trials.size() + 1, selection->languages.size(), sanitise_line(language.name)));
    auto trial = try_in_images(*slot, language, selection->images);
    if (console.err.is_terminal()) (void)console.err.write("\r\x1b[K");
    if (!trial) return std::unexpected(std::move(trial.error()));
    trials.push_back(std::move(*trial));
  }
  const std::string page = options.json       ? trials_to_json(trials).dump(2, ' ', false, core::Json::error_handler_t::replace) + "\n"
                           : options.markdown ? trials_to_markdown(trials, selection->images)
                                              : render_trials(trials, console.out.paint());
  if (auto written = console.out.write(page); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  const std::size_t failed = count(trials, true, false), absent = count(trials, false, false);
  return failed == 0 && (absent == 0 || options.names.empty()) ? kExitOk : kExitRuntimeError;
}

Expected<std::size_t> note_languages(const images::ImageStore& store, const images::StoredImage& image, const std::string& definitions,
                                     sandbox::CgroupDriver driver) {
  auto languages = images::read_definitions(definitions.empty() ? images::default_definitions_directory() : definitions);
  if (!languages) return failure(kExitInternal, languages.error().what);
  std::erase_if(*languages, [&](const auto& language) { return language.image != image.name; });
  if (languages->empty()) return 0;
  const auto content = store.hold(image.digest);
  if (!content) return failure(kExitInternal, content.error().what);
  const auto offered = images::image_of(image);
  auto slot = LocalSlot::start({offered.sandbox_name()}, driver, store.directory());
  if (!slot) return std::unexpected(std::move(slot.error()));
  std::map<std::string, images::ProbedVersion> versions;
  std::size_t found = 0;
  for (const auto& language : *languages) {
    const auto version = version_in(*slot, placed(language, offered));
    if (!version) return std::unexpected(version.error());
    versions[language.name] = {language.version_command, version->value_or("")};
    found += version->has_value() ? 1 : 0;
  }
  if (auto noted = store.note_versions(image.name, image.digest, versions); !noted) return failure(kExitInternal, noted.error().what);
  return found;
}

std::string render_trials(const std::vector<Trial>& trials, const Paint& paint) {
  Table table;
  for (const Trial& trial : trials)
    table.add({{trial.name, Colour::bold},
               {trial.passed    ? "passed"
                : trial.present ? "FAILED"
                                : kAbsent,
                trial.passed    ? Colour::green
                : trial.present ? Colour::red
                                : Colour::dim},
               {trial.image},
               {trial.version.substr(0, 60)},
               {trial.detail, Colour::dim}});
  return table.render(paint) + fmt::format("{} passed, {} failed, {} absent\n", count(trials, true, true), count(trials, true, false),
                                           count(trials, false, false));
}

core::Json trials_to_json(const std::vector<Trial>& trials) {
  core::Json items = core::Json::array();
  for (const Trial& trial : trials)
    items.push_back({{"name", trial.name},
                     {"version", trial.version.empty() ? core::Json(nullptr) : core::Json(core::to_utf8(trial.version))},
                     {"image", trial.image},
                     {"passed", trial.passed},
                     {"detail", core::to_utf8(trial.detail)}});
  return {{"items", std::move(items)}};
}

std::string trials_to_markdown(const std::vector<Trial>& trials, const std::vector<images::Image>& images) {
  std::string page = fmt::format("# Languages\n\nWritten by `bailiff language test --markdown`, which ran every language's programs in its "
                                 "image: hello, stdin, compile error, "
                                 "runtime error, time limit, memory limit.\n{} passed, {} failed, {} absent. How to add one: "
                                 "[images/README.md](../images/README.md).\n\n",
                                 count(trials, true, true), count(trials, true, false), count(trials, false, false));
  page += "Times and memory are those of the hello program: compiling it (CPU time), running it (start to end), its peak. Limits are a run "
          "step's defaults.\n\n";
  page += "| language | what | also called | version | image | self-test | compile | run | memory | CPU time limit | memory limit |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Trial& trial : trials) {
    const auto milliseconds = [](std::uint64_t us) { return duration_text(static_cast<double>(us) / 1000); };
    const std::string figures =
        !trial.present
            ? " | | | | "
            : fmt::format("{} | {} | {} | {} | {}", trial.hello_compile.cpu_us == 0 ? "" : milliseconds(trial.hello_compile.cpu_us),
                          milliseconds(trial.hello.wall_us), size_text(static_cast<double>(trial.hello.memory_peak_bytes)),
                          milliseconds(trial.limits.cpu_time_us), size_text(static_cast<double>(trial.limits.memory_bytes)));
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} |\n", trial.name, cell(trial.title),
                        cell(fmt::format("{}", fmt::join(trial.aliases, " "))), cell(trial.version.substr(0, 60)), trial.image,
                        trial.passed    ? "passed"
                        : trial.present ? "FAILED: " + cell(trial.detail)
                                        : std::string(kAbsent),
                        figures);
  }
  page += "\n## Images\n\n| image | digest | size |\n|---|---|---|\n";
  for (const auto& image : images)
    if (std::ranges::find(trials, image.name, &Trial::image) != trials.end() && image.kind != "host")
      page += fmt::format("| {} | `{}` | {} |\n", image.name, image.digest, size_text(static_cast<double>(image.bytes)));
  return page;
}

}  // namespace bailiff::cli
