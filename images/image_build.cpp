#include "images/image_build.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>

#include "images/catalogue.h"
#include "images/mmdebstrap.h"

namespace bailiff::images {
namespace {

constexpr std::string_view kPackageMark = "bailiff-package ";
constexpr std::size_t kMaxDefinitionBytes = 256 * 1024;
constexpr std::chrono::hours kMostTime(3);

// What no program in a sandbox needs, and what differs from one build to the next. Shell patterns below the root.
constexpr const char* kStripped =
    "usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/share/bug usr/share/doc-base usr/share/menu "
    "usr/share/i18n usr/share/common-licenses usr/share/bash-completion usr/share/zsh usr/share/fish usr/share/pixmaps "
    "usr/share/applications usr/sbin/policy-rc.d etc/apt "
    "var/cache/* var/log/* var/lib/apt var/lib/dpkg var/lib/systemd var/tmp/* var/backups/* tmp/* run/* boot media mnt home root srv "
    "etc/machine-id etc/*- etc/shadow etc/gshadow etc/cron* etc/logrotate.d etc/init.d etc/rc*.d etc/systemd etc/mtab etc/fstab "
    "lib/systemd usr/lib/systemd";

std::unexpected<core::Error> invalid(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

bool is_package(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("+.-:").contains(c);
  });
}

bool is_below_root(std::string_view path) {
  return !path.empty() && !path.starts_with('/') && !path.contains("..") && std::ranges::all_of(path, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/._+*?-").contains(c);
  });
}

core::Result<std::string> read_text(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return core::error(core::ErrorKind::not_found, "there is no " + path);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (text.size() > kMaxDefinitionBytes) return invalid(path + ": is too large");
  return text;
}

/// Lines "package=version", sorted.
std::set<std::string> lines_of(std::string_view text) {
  std::set<std::string> lines;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    if (!line.empty() && !line.starts_with('#')) lines.emplace(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

/// Run inside of the new root, once the packages are in it: what is a link there, of whatever package, leads nowhere else.
std::string finishing_script(const ImageDefinition& definition) {
  std::string script = "set -eu; cd /; ";
  script += fmt::format("dpkg-query -W -f '{}${{Package}}=${{Version}}\\n' >&2; ", kPackageMark);
  script += fmt::format("rm -rf -- {}; ", kStripped);
  for (const std::string& pattern : definition.remove) script += fmt::format("rm -rf -- {}; ", pattern);
  for (const auto& [path, text] : definition.files)
    script += fmt::format("mkdir -p -- \"$(dirname -- {0})\"; printf %s {1} > {0}; ", shell_quoted(path), shell_quoted(text));
  // Packages bring the times of their files; what is newer than this build was made by their scripts, at a time that is never the same.
  script +=
      fmt::format("find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev \\) -prune -o -newermt @{} -exec touch -h -d @0 -- {{}} +",
                  std::time(nullptr) - 1);
  return script;
}

std::vector<std::string> command_of(const ImageDefinition& definition) {
  // What it does after the hook would leave its time on directories: its cleaning, of which kStripped has all, and putting back the
  // start-stop-daemon, without which policy-rc.d still keeps services from being started.
  std::vector<std::string> argv = {"--mode=root",
                                   "--variant=essential",
                                   "--format=tar",
                                   "--skip=cleanup,chroot/start-stop-daemon",
                                   "--aptopt=Acquire::Languages \"none\"",
                                   "--aptopt=APT::Install-Recommends \"false\""};
  for (const char* tree : {"doc", "man", "info", "locale", "lintian"})
    argv.push_back(fmt::format("--dpkgopt=path-exclude=/usr/share/{}/*", tree));
  // update-alternatives of the JDK and others fails without the directory that it would link pages in.
  argv.emplace_back("--essential-hook=mkdir -p \"$1/usr/share/man/man1\"");
  if (!definition.packages.empty()) argv.push_back(fmt::format("--include={}", fmt::join(definition.packages, ",")));
  argv.push_back("--customize-hook=chroot \"$1\" /bin/sh -c " + shell_quoted(finishing_script(definition)));
  argv.push_back(definition.suite);
  argv.emplace_back("-");
  for (const std::string& source : definition.sources) argv.push_back(source);
  return argv;
}

/// Writes the tar archive of the definition's root to `archive`; the packages in it.
core::Result<std::set<std::string>> make_root(const ImageDefinition& definition, int archive, int cancel, const Progress& progress) {
  auto process = Mmdebstrap::start(command_of(definition), archive);
  if (!process) return std::unexpected(std::move(process.error()));
  std::set<std::string> packages;
  std::string last_fault;
  const auto ended = process->follow(kMostTime, cancel, [&](const std::string& line) {
    if (line.starts_with(kPackageMark)) {
      packages.insert(line.substr(kPackageMark.size()));
    } else if (line.starts_with("I: ") || line.starts_with("E: ") || line.starts_with("W: ")) {
      // The first complaint has the reason; those after it are its consequences.
      if (line.starts_with("E: ") && last_fault.empty()) last_fault = line.substr(3, 500);
      progress(line.substr(3, 160));
    }
  });
  if (!ended) return std::unexpected(ended.error());
  if (process->wait() != 0) return core::error(core::ErrorKind::unavailable, "mmdebstrap failed: " + last_fault);
  return packages;
}

core::Status add_language_packages(ImageDefinition& definition, const std::string& directory) {
  const auto languages = read_definitions(directory);
  if (!languages) return std::unexpected(languages.error());
  std::set<std::string> packages(definition.packages.begin(), definition.packages.end());
  for (const Language& language : *languages)
    if (language.image == definition.name) packages.insert(language.packages.begin(), language.packages.end());
  definition.packages.assign(packages.begin(), packages.end());
  if (const auto odd = std::ranges::find_if_not(definition.packages, is_package); odd != definition.packages.end())
    return invalid(fmt::format("\"{}\" is no name of a package", *odd));
  return {};
}

std::string differences(const std::set<std::string>& locked, const std::set<std::string>& found) {
  std::vector<std::string> words;
  std::ranges::set_difference(locked, found, std::back_inserter(words));
  std::string text = fmt::format("locked {}", fmt::join(words, " "));
  words.clear();
  std::ranges::set_difference(found, locked, std::back_inserter(words));
  return text + fmt::format("; found {}", fmt::join(words, " "));
}

/// The lock file, where there is one, says the same; or it is written.
core::Status check_lock(const BuildRequest& request, const std::set<std::string>& packages) {
  const std::string path = fmt::format("{}/{}.lock", request.directory, request.name);
  if (request.update_lock) {
    std::ofstream stream(path + ".new", std::ios::binary | std::ios::trunc);
    stream << fmt::format("# Packages of the image {}, as `bailiff image build --update-lock` found them.\n{}\n", request.name,
                          fmt::join(packages, "\n"));
    stream.close();
    std::error_code fault;
    if (stream) std::filesystem::rename(path + ".new", path, fault);
    if (!stream || fault) return core::error(core::ErrorKind::internal, "cannot write " + path);
    return {};
  }
  const auto text = read_text(path);
  if (!text) return text.error().kind == core::ErrorKind::not_found ? core::Status{} : std::unexpected(text.error());
  const auto locked = lines_of(*text);
  if (locked == packages) return {};
  return invalid(
      fmt::format("{}: the packages are others now ({}); --update-lock takes them", path, differences(locked, packages).substr(0, 2000)));
}

/// Reads a definition's members and remembers every fault with its key.
class DefinitionReader {
 public:
  DefinitionReader(const toml::table& table, std::string_view file) : table_(table), file_(file) {}

  void strings(std::string_view key, std::vector<std::string>& values, bool (*fits)(std::string_view), const char* expected) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    values.clear();
    const toml::array* array = node->as_array();
    if (array == nullptr) return fault(key, "must be a list of strings");
    for (const toml::node& element : *array) {
      const auto* text = element.as_string();
      if (text == nullptr || !fits(text->get())) fault(fmt::format("{}[{}]", key, values.size()), expected);
      values.push_back(text == nullptr ? "" : text->get());
    }
  }
  void text(std::string_view key, std::string& value, bool (*fits)(std::string_view), const char* expected) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto* found = node->as_string();
    if (found == nullptr || !fits(found->get())) return fault(key, expected);
    value = found->get();
  }
  void table(std::string_view key, std::map<std::string, std::string>& values, bool (*fits)(std::string_view), const char* expected) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (node->as_table() == nullptr) return fault(key, "must be a table of strings");
    for (const auto& [name, value] : *node->as_table()) {
      const auto* text = value.as_string();
      const std::string path = fmt::format("{}.{}", key, name.str());
      if (!fits(name.str())) fault(path, expected);
      if (text == nullptr || text->get().contains('\0')) fault(path, "must be a string without NUL");
      else values.emplace(name.str(), text->get());
    }
  }
  std::vector<std::string> finish() {
    for (const auto& [key, node] : table_)
      if (!seen_.contains(key.str())) fault(key.str(), "unknown key");
    return std::move(faults_);
  }

 private:
  const toml::node* take(std::string_view key) {
    seen_.insert(key);
    return table_.get(key);
  }
  void fault(std::string_view key, std::string_view what) { faults_.push_back(fmt::format("{}: {}: {}", file_, key, what)); }

  const toml::table& table_;
  std::string file_;
  std::set<std::string_view> seen_;
  std::vector<std::string> faults_;
};

}  // namespace

core::Result<ImageDefinition> parse_image_definition(std::string_view toml_text, std::string_view name) {
  const std::string file = std::string(name) + ".toml";
  toml::table table;
  try {
    table = toml::parse(toml_text, file);
  } catch (const toml::parse_error& fault) {
    return invalid(fmt::format("{}: line {}: {}", file, fault.source().begin.line, fault.description()));
  }
  ImageDefinition definition;
  definition.name = name;
  DefinitionReader reader(table, file);
  reader.strings("packages", definition.packages, &is_package, "is no name of a package");
  reader.strings("remove", definition.remove, &is_below_root, "must be a plain path or pattern below the root, without \"..\"");
  reader.text("suite", definition.suite, &is_package, "is no name of a suite");
  reader.strings(
      "sources", definition.sources, [](std::string_view s) { return s.starts_with("deb ") && !s.contains('\n'); },
      "must be an apt source: \"deb URL SUITE COMPONENT…\"");
  reader.table(
      "env", definition.env, [](std::string_view s) { return !s.empty() && !s.contains('=') && !s.contains('\0'); },
      "is no name of an environment variable");
  reader.table("files", definition.files, &is_below_root, "must be a plain path below the root, without \"..\"");
  const auto faults = reader.finish();
  if (!faults.empty()) return invalid(fmt::format("{}", fmt::join(faults, "; ")));
  return definition;
}

std::string default_image_definitions() {
  return (std::filesystem::path(default_definitions_directory()).parent_path() / "images").string();
}

core::Result<std::vector<std::string>> image_definitions(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code fault;
  for (std::filesystem::directory_iterator entry(directory, fault), end; !fault && entry != end; entry.increment(fault))
    if (entry->path().extension() == ".toml") names.push_back(entry->path().stem().string());
  if (fault) return core::error(core::ErrorKind::not_found, fmt::format("{}: {}", directory, fault.message()));
  std::ranges::sort(names);
  return names;
}

core::Result<Imported> build_image(const ImageStore& store, const ImportWorker& worker, const BuildRequest& request,
                                   const Progress& progress) {
  if (!is_image_name(request.name)) return invalid(fmt::format("\"{}\" is no name for an image", request.name));
  const auto text = read_text(fmt::format("{}/{}.toml", request.directory, request.name));
  if (!text) return std::unexpected(text.error());
  auto definition = parse_image_definition(*text, request.name);
  if (!definition) return std::unexpected(std::move(definition.error()));
  if (auto added = add_language_packages(*definition, request.languages); !added) return std::unexpected(std::move(added.error()));
  // Without a name: whatever ends us, nothing is left.
  const std::string directory = kBuildParent;
  const core::Fd archive(::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!archive.valid()) return core::errno_error("make a file in " + directory);
  auto packages = make_root(*definition, archive.get(), request.cancel, progress);
  if (!packages) return std::unexpected(std::move(packages.error()));
  if (auto same = check_lock(request, *packages); !same) return std::unexpected(std::move(same.error()));
  progress("packing");
  return import_image(store, worker, {.name = request.name, .source = "build", .env = definition->env}, archive.get());
}

}  // namespace bailiff::images
