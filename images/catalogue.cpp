#include "images/catalogue.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <filesystem>
#include <fstream>

namespace bailiff::images {
namespace {

constexpr std::size_t kMaxDefinitions = 512;
constexpr std::uintmax_t kMaxDefinitionBytes = 64 * core::kKiB;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

core::Result<std::vector<std::filesystem::path>> definition_files(const std::string& directory) {
  std::error_code code;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entry(directory, code), end; !code && entry != end; entry.increment(code)) {
    if (entry->path().extension() == ".toml") files.push_back(entry->path());
    if (files.size() > kMaxDefinitions)
      return core::error(core::ErrorKind::invalid, fmt::format("{}: more than {} definitions", directory, kMaxDefinitions));
  }
  if (code) return core::error(core::ErrorKind::not_found, fmt::format("{}: {}", directory, code.message()));
  std::ranges::sort(files);
  return files;
}

core::Result<Language> read_definition(const std::filesystem::path& path) {
  const std::string file = path.filename().string();
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) return core::error(core::ErrorKind::invalid, file + ": is no regular file");
  if (std::filesystem::file_size(path, code) > kMaxDefinitionBytes || code)
    return core::error(core::ErrorKind::invalid, fmt::format("{}: cannot be read or is larger than {} bytes", file, kMaxDefinitionBytes));
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (!stream) return core::error(core::ErrorKind::invalid, file + ": cannot be read");
  return parse_language(text, file);
}

/// A language shows the programs of another one; chains are not followed.
void take_programs(std::vector<Language>& all, std::vector<std::string>& faults) {
  for (Language& language : all) {
    if (language.programs_of.empty()) continue;
    const auto other = std::ranges::find(all, language.programs_of, &Language::name);
    if (other == all.end() || !other->programs_of.empty()) {
      faults.push_back(fmt::format("{}: programs_of: \"{}\" is no language with programs of its own", language.name, language.programs_of));
      continue;
    }
    language.hello = other->hello;
    language.programs = other->programs;
    language.lacks = other->lacks;
  }
}

}  // namespace

core::Result<std::vector<Language>> read_definitions(const std::string& directory) {
  auto files = definition_files(directory);
  if (!files) return std::unexpected(std::move(files.error()));
  std::vector<Language> all;
  std::vector<std::string> faults;
  std::map<std::string, std::string> owner;  // name or alias → file that has it
  for (const auto& path : *files) {
    const std::string file = path.filename().string();
    auto language = read_definition(path);
    if (!language) {
      faults.push_back(std::move(language.error().what));
      continue;
    }
    std::vector<std::string> names = language->aliases;
    names.insert(names.begin(), language->name);
    for (const std::string& name : names)
      if (const auto [other, added] = owner.emplace(name, file); !added)
        faults.push_back(fmt::format("{}: \"{}\" is already a name or alias in {}", file, name, other->second));
    all.push_back(std::move(*language));
  }
  take_programs(all, faults);
  if (!faults.empty()) return core::error(core::ErrorKind::invalid, fmt::format("{}", fmt::join(faults, "; ")));
  return all;
}

std::vector<const Image*> candidates(const Language& language, const std::vector<Image>& images) {
  std::vector<const Image*> found;
  for (const std::string_view name : {std::string_view(language.image), std::string_view("host")}) {
    const auto image = std::ranges::find(images, name, &Image::name);
    if (image != images.end() && std::ranges::find(found, &*image) == found.end()) found.push_back(&*image);
  }
  return found;
}

core::Limits scaled(core::Limits defaults, const Language& language) {
  const auto times = [](std::uint64_t value, double factor) {
    return static_cast<std::uint64_t>(std::llround(static_cast<double>(value) * factor));
  };
  defaults.cpu_time_us = times(defaults.cpu_time_us, language.time_factor);
  defaults.wall_time_us = times(defaults.wall_time_us, language.time_factor);
  defaults.memory_bytes = times(defaults.memory_bytes, language.memory_factor);
  return defaults;
}

core::Result<Catalogue> Catalogue::load(const std::string& directory, std::vector<Image> images, const VersionProbe& probe) {
  auto all = read_definitions(directory);
  if (!all) return std::unexpected(std::move(all.error()));
  Catalogue catalogue;
  for (Language& language : *all) {
    std::optional<std::string> output;
    for (const Image* image : candidates(language, images)) {
      language.image = image->name;
      output = probe(language);
      if (output) break;
    }
    if (!output) continue;
    language.version = first_line(*output);
    const std::size_t index = catalogue.languages_.size();
    catalogue.by_name_.emplace(language.name, index);
    for (const std::string& alias : language.aliases) catalogue.by_name_.emplace(alias, index);
    catalogue.languages_.push_back(std::move(language));
  }
  for (Image& image : images) catalogue.offer(std::move(image));
  return catalogue;
}

const Language* Catalogue::find_language(std::string_view name_or_alias) const {
  const auto found = by_name_.find(lower(name_or_alias));
  return found == by_name_.end() ? nullptr : &languages_[found->second];
}

std::vector<Image> Catalogue::images() const {
  const std::lock_guard lock(images_->mutex);
  std::vector<Image> copy;
  for (const auto& image : images_->all) copy.push_back(*image);
  return copy;
}

std::shared_ptr<const Image> Catalogue::find_image(std::string_view name) const {
  const std::lock_guard lock(images_->mutex);
  const auto found = std::ranges::find(images_->all, name, [](const auto& image) -> std::string_view { return image->name; });
  return found == images_->all.end() ? nullptr : *found;
}

void Catalogue::offer(Image image) {
  const std::lock_guard lock(images_->mutex);
  std::erase_if(images_->all, [&](const auto& other) { return other->name == image.name; });
  images_->all.push_back(std::make_shared<const Image>(std::move(image)));
  std::ranges::sort(images_->all, {}, [](const auto& other) { return std::pair(other->kind != "host", other->name); });
}

void Catalogue::withdraw(std::string_view name) {
  const std::lock_guard lock(images_->mutex);
  std::erase_if(images_->all, [&](const auto& image) { return image->name == name; });
}

std::string Image::sandbox_name() const { return kind == "erofs" ? content_name(digest) : name; }

Image image_of(const StoredImage& stored) {
  return {stored.name, stored.digest, stored.kind, "", stored.bytes, stored.env, stored.workdir, stored.entrypoint, stored.versions};
}

std::string first_line(std::string_view output) {
  while (!output.empty() && (output.front() == '\n' || output.front() == '\r' || output.front() == ' ')) output.remove_prefix(1);
  std::string line(output.substr(0, std::min(output.find('\n'), std::size_t{200})));
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return line;
}

const std::map<std::string, std::string>& base_environment() {
  static const std::map<std::string, std::string> environment = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/tmp"}, {"LANG", "C.UTF-8"}};
  return environment;
}

std::string default_definitions_directory() {
  std::error_code code;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", code);
  if (!code) {
    auto installed = program.parent_path().parent_path() / "share" / "bailiff" / "languages";
    if (std::filesystem::is_directory(installed, code)) return installed.string();
  }
  return BAILIFF_DEFINITIONS_DIR;
}

std::optional<std::string> find_host_tool(const std::string& argv0, const std::map<std::string, std::string>& env) {
  // /etc, /root and the like are the machine's own here, but hidden or made anew in the image; only these trees are the same in both.
  const auto usable = [](const std::string& path) {
    static constexpr std::string_view kVisible[] = {"/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/"};
    char resolved[PATH_MAX];
    if (::access(path.c_str(), X_OK) != 0 || ::realpath(path.c_str(), resolved) == nullptr) return false;
    std::error_code code;
    return std::filesystem::is_regular_file(resolved, code) &&
           std::ranges::any_of(kVisible, [&](std::string_view tree) { return std::string_view(resolved).starts_with(tree); });
  };
  if (argv0.starts_with('/')) return usable(argv0) ? std::optional(argv0) : std::nullopt;
  if (argv0.empty() || argv0.contains('/')) return std::nullopt;
  const auto own_path = env.find("PATH");
  std::string_view path = own_path != env.end() ? own_path->second : base_environment().at("PATH");
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    std::string candidate = fmt::format("{}/{}", path.substr(0, end), argv0);
    if (usable(candidate)) return candidate;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return std::nullopt;
}

}  // namespace bailiff::images
