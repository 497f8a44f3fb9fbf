// One language definition: TOML text → Language. Strict: what is not understood is a fault, and all faults are told at once.
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>

#include "images/catalogue.h"

namespace bailiff::images {
namespace {

constexpr std::size_t kMaxNameBytes = 64, kMaxTextBytes = 64 * 1024, kMaxArguments = 256;
constexpr double kMaxFactor = 20;

bool is_name(std::string_view text) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("+#._-").contains(c); };
  return !text.empty() && text.size() <= kMaxNameBytes && std::ranges::all_of(text, allowed) && text.front() != '.' && text.front() != '-';
}

bool is_variable_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto allowed = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  return !text.empty() && letter(text.front()) && std::ranges::all_of(text, allowed);
}

bool is_workspace_path(std::string_view path) {
  if (path.empty() || path.size() > 255) return false;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view component = path.substr(start, end - start);
    if (component.empty() || component == "." || component == "..") return false;
    start = end + 1;
  }
  return std::ranges::all_of(path, [](char c) { return c > ' ' && c != 0x7f; });
}

/// Reads the members of one table and remembers every fault with its key.
class Reader {
 public:
  Reader(const toml::table& table, std::string_view file) : table_(table), file_(file) {}

  void fault(std::string_view key, std::string_view what) { faults_.push_back(fmt::format("{}: {}: {}", file_, key, what)); }

  std::string text(std::string_view key, bool required) {
    seen_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      if (required) fault(key, "is missing");
      return {};
    }
    return text_of(key, *node);
  }

  std::vector<std::string> list(std::string_view key, bool required) {
    seen_.push_back(key);
    std::vector<std::string> values;
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      if (required) fault(key, "is missing");
      return values;
    }
    const toml::array* array = node->as_array();
    if (array == nullptr || (required && array->empty()) || array->size() > kMaxArguments) {
      fault(key, fmt::format("must be a list of {} to {} strings", required ? 1 : 0, kMaxArguments));
      return values;
    }
    for (const toml::node& element : *array) values.push_back(text_of(fmt::format("{}[{}]", key, values.size()), element));
    return values;
  }

  const toml::table* table(std::string_view key) {
    seen_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return nullptr;
    if (node->as_table() == nullptr) fault(key, "must be a table");
    return node->as_table();
  }

  std::map<std::string, std::string> environment(std::string_view key) {
    std::map<std::string, std::string> result;
    const toml::table* variables = table(key);
    if (variables == nullptr) return result;
    for (const auto& [name, node] : *variables) {
      const std::string path = fmt::format("{}.{}", key, name.str());
      if (!is_variable_name(name.str())) fault(path, "is no name of an environment variable");
      const toml::value<std::string>* value = node.as_string();
      if (value == nullptr || value->get().contains('\0')) {
        fault(path, "must be a string without NUL");
      } else {
        result.emplace(name.str(), value->get());
      }
    }
    return result;
  }

  core::LimitOverrides limits(std::string_view key) {
    core::LimitOverrides result;
    const toml::table* values = table(key);
    if (values == nullptr) return result;
    for (const auto& [name, node] : *values) {
      const std::string path = fmt::format("{}.{}", key, name.str());
      const auto index = core::limit_index(name.str());
      if (!index) {
        fault(path, "unknown limit");
        continue;
      }
      result.values[*index] = limit_of(path, core::kLimitFields[*index], node);
    }
    return result;
  }

  double factor(std::string_view key) {
    seen_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return 1;
    const double value = node->is_number() ? node->value<double>().value_or(0) : 0;
    // The comparison is false for NaN as well.
    if (!(value >= 1 && value <= kMaxFactor)) fault(key, fmt::format("must be a number from 1 to {}", kMaxFactor));
    return value;
  }

  std::map<std::string, std::string> programs(std::string_view key) {
    std::map<std::string, std::string> result;
    const toml::table* sources = table(key);
    if (sources == nullptr) return result;
    for (const auto& [name, node] : *sources) {
      const std::string path = fmt::format("{}.{}", key, name.str());
      if (std::ranges::find(kSelfTestPrograms, name.str()) == std::end(kSelfTestPrograms)) fault(path, "unknown program");
      else result.emplace(name.str(), text_of(path, node));
    }
    return result;
  }

  /// Faults of keys that nobody asked for, then all faults.
  std::vector<std::string> finish() {
    for (const auto& [key, node] : table_)
      if (std::ranges::find(seen_, key.str()) == seen_.end()) fault(key.str(), "unknown key");
    return std::move(faults_);
  }

 private:
  std::string text_of(std::string_view key, const toml::node& node) {
    const toml::value<std::string>* value = node.as_string();
    if (value == nullptr || value->get().empty() || value->get().size() > kMaxTextBytes || value->get().contains('\0')) {
      fault(key, fmt::format("must be a string of 1 to {} bytes without NUL", kMaxTextBytes));
      return {};
    }
    return value->get();
  }

  std::optional<std::uint64_t> limit_of(std::string_view path, const core::LimitField& field, const toml::node& node) {
    const std::optional<double> number = node.is_number() ? node.value<double>() : std::nullopt;
    const double scaled = number ? *number * static_cast<double>(field.scale) : NAN;
    const auto low = static_cast<double>(field.floor), high = field.zero_is_none ? 9e15 : static_cast<double>(field.ceiling);
    const bool is_none = field.zero_is_none && scaled == 0;
    // The comparison is false for NaN as well.
    if (!is_none && !(scaled >= low && scaled <= high)) {
      const auto scale = static_cast<double>(field.scale);
      fault(path, fmt::format("must be a number from {} to {}", low / scale, high / scale));
      return std::nullopt;
    }
    return static_cast<std::uint64_t>(std::llround(scaled));
  }

  const toml::table& table_;
  std::string file_;
  std::vector<std::string_view> seen_;
  std::vector<std::string> faults_;
};

void check_names(Reader& reader, const Language& language) {
  if (!language.name.empty() && !is_name(language.name)) reader.fault("name", "must be of a-z 0-9 + # . _ -");
  for (std::size_t i = 0; i < language.aliases.size(); ++i) {
    const std::string& alias = language.aliases[i];
    if (alias.empty()) continue;  // already a fault of its own
    const std::string key = fmt::format("aliases[{}]", i);
    if (!is_name(alias)) reader.fault(key, "must be of a-z 0-9 + # . _ -");
    if (alias == language.name || std::ranges::count(language.aliases, alias) > 1)
      reader.fault(key, fmt::format("\"{}\" stands twice", alias));
  }
  if (!language.source_file.empty() && !is_workspace_path(language.source_file))
    reader.fault("source_file", "must be a relative path inside the workspace, without \"..\"");
}

void check_programs(Reader& reader, const Language& language) {
  if (!language.programs_of.empty() && (!language.hello.empty() || !language.programs.empty()))
    reader.fault("programs_of", "stands instead of hello and programs");
  for (const std::string& name : language.lacks) {
    if (std::ranges::find(kSelfTestPrograms, name) == std::end(kSelfTestPrograms))
      reader.fault("lacks", fmt::format("\"{}\" is unknown", name));
    if (language.programs.contains(name)) reader.fault("lacks", fmt::format("but there is a program \"{}\"", name));
  }
  if (language.compile.empty() && language.programs.contains("compile_error"))
    reader.fault("programs.compile_error", "needs a compile command");
}

}  // namespace

core::Result<Language> parse_language(std::string_view toml_text, std::string_view file_name) {
  toml::table table;
  try {
    table = toml::parse(toml_text, file_name);
  } catch (const toml::parse_error& fault) {
    return core::error(core::ErrorKind::invalid, fmt::format("{}: line {}: {}", file_name, fault.source().begin.line, fault.description()));
  }
  Reader reader(table, file_name);
  Language language;
  language.name = reader.text("name", true);
  language.title = reader.text("title", true);
  language.aliases = reader.list("aliases", false);
  language.image = reader.text("image", false);
  if (language.image.empty()) language.image = "host";
  language.source_file = reader.text("source_file", true);
  language.compile = reader.list("compile", false);
  language.run = reader.list("run", true);
  language.env = reader.environment("env");
  language.version_command = reader.list("version_command", true);
  language.time_factor = reader.factor("time_factor");
  language.memory_factor = reader.factor("memory_factor");
  language.limits = reader.limits("limits");
  language.compile_limits = reader.limits("compile_limits");
  language.programs_of = reader.text("programs_of", false);
  language.hello = reader.text("hello", language.programs_of.empty());
  language.programs = reader.programs("programs");
  language.lacks = reader.list("lacks", false);
  language.packages = reader.list("packages", false);
  check_names(reader, language);
  check_programs(reader, language);

  const std::vector<std::string> faults = reader.finish();
  if (!faults.empty()) return core::error(core::ErrorKind::invalid, fmt::format("{}", fmt::join(faults, "; ")));
  return language;
}

}  // namespace bailiff::images
