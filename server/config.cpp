#include "server/config.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

#include "sandbox/cgroup_driver.h"
#include "server/http_bounds.h"
#include "server/log.h"
#include "server/webhook_deliverer.h"

namespace bailiff::server {
namespace {

constexpr std::string_view kEnvironmentPrefix = "BAILIFF_";
// Variables of the command-line client, which may share its environment with a server.
constexpr std::array<std::string_view, 3> kClientVariables = {"BAILIFF_SERVER", "BAILIFF_API_KEY", "BAILIFF_IMAGES"};
constexpr std::uint64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();  // what TOML can hold

std::unexpected<core::Error> expected(std::string what) { return core::error(core::ErrorKind::invalid, "expected " + std::move(what)); }
std::unexpected<core::Error> invalid(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

std::string toml_string(const std::string& text) {
  std::ostringstream out;
  out << toml::value<std::string>(text);
  return out.str();
}

std::string name_with(const Setting& setting, char separator, int (*convert)(int)) {
  std::string name;
  for (const char c : setting.name) name += c == '.' || c == '_' ? separator : static_cast<char>(convert(c));
  return name;
}

Setting text_setting(std::string name, std::string Config::* member, std::string fallback, std::string doc) {
  return {std::move(name),
          SettingType::text,
          std::move(fallback),
          std::move(doc),
          [member](Config& config, const std::string& value) -> core::Status {
            if (value.find('\0') != std::string::npos) return expected("text without NUL");
            config.*member = value;
            return {};
          },
          [member](const Config& config) { return toml_string(config.*member); }};
}

Setting integer_setting(std::string name, std::uint64_t Config::* member, std::uint64_t fallback, std::uint64_t least, std::uint64_t most,
                        std::string doc) {
  return {std::move(name),
          SettingType::integer,
          std::to_string(fallback),
          std::move(doc),
          [member, least, most](Config& config, const std::string& value) -> core::Status {
            std::uint64_t number = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
            if (error != std::errc() || end != value.data() + value.size() || number < least || number > most)
              return expected(fmt::format("a whole number from {} to {}", least, most));
            config.*member = number;
            return {};
          },
          [member](const Config& config) { return std::to_string(config.*member); }};
}

Setting boolean_setting(std::string name, bool Config::* member, bool fallback, std::string doc) {
  return {std::move(name),
          SettingType::boolean,
          fallback ? "true" : "false",
          std::move(doc),
          [member](Config& config, const std::string& value) -> core::Status {
            if (value != "true" && value != "false") return expected("true or false");
            config.*member = value == "true";
            return {};
          },
          [member](const Config& config) { return std::string(config.*member ? "true" : "false"); }};
}

Setting list_setting(std::string name, std::vector<std::string> Config::* member, std::string doc) {
  return {std::move(name),
          SettingType::list,
          "",
          std::move(doc),
          [member](Config& config, const std::string& value) -> core::Status {
            std::istringstream words(value);
            config.*member = {};
            for (std::string word; words >> word;) (config.*member).push_back(word);
            return {};
          },
          [member](const Config& config) {
            std::vector<std::string> quoted;
            for (const auto& word : config.*member) quoted.push_back(toml_string(word));
            return fmt::format("[{}]", fmt::join(quoted, ", "));
          }};
}

/// A limit as people write it: the member divided by the field's scale, with a fraction where it has one.
std::string limit_text(const core::LimitField& field, std::uint64_t value) {
  if (value % field.scale == 0) return std::to_string(value / field.scale);
  return fmt::format("{}", static_cast<double>(value) / static_cast<double>(field.scale));
}

Setting limit_setting(const std::string& table, core::Limits Config::* group, const core::LimitField& field, std::uint64_t fallback,
                      const std::string& doc) {
  const auto type = field.scale == 1 ? SettingType::integer : SettingType::number;
  return {table + "." + field.name,
          type,
          limit_text(field, fallback),
          doc,
          [group, field](Config& config, const std::string& value) -> core::Status {
            double number = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
            const double scaled = number * static_cast<double>(field.scale);
            const bool is_none = field.zero_is_none && number == 0;
            if (error != std::errc() || end != value.data() + value.size() || !(is_none || scaled >= static_cast<double>(field.floor)) ||
                scaled > 9e15 || (field.scale == 1 && number != std::floor(number)))
              return expected(fmt::format("{}a {} from {}", field.zero_is_none ? "0 (none) or " : "",
                                          field.scale == 1 ? "whole number" : "number", limit_text(field, field.floor)));
            config.*group.*field.member = static_cast<std::uint64_t>(std::llround(scaled));
            return {};
          },
          [group, field](const Config& config) { return limit_text(field, config.*group.*field.member); }};
}

Setting driver_setting() {
  return {"cgroup.driver",
          SettingType::text,
          "auto",
          "who makes the launcher's own cgroup: cgroupfs (nobody: it is bailiffd's), systemd (a delegated scope, asked for over D-Bus), or "
          "auto",
          [](Config& config, const std::string& value) -> core::Status {
            const auto driver = sandbox::cgroup_driver_from_name(value);
            if (!driver) return expected("auto, cgroupfs or systemd");
            config.cgroup_driver = *driver;
            return {};
          },
          [](const Config& config) { return toml_string(std::string(sandbox::name(config.cgroup_driver))); }};
}

/// Compilers need more than the programs they make; what is not named here is as for any step.
std::uint64_t compile_default(const core::LimitField& field) {
  static const core::Limits generous = [] {
    core::Limits limits = core::default_limits();
    limits.cpu_time_us = 30'000'000;
    limits.wall_time_us = 60'000'000;
    limits.memory_bytes = core::kGiB;
    limits.processes = 256;
    limits.cpus_milli = 2'000;
    limits.file_bytes = core::kGiB;
    limits.workspace_bytes = 512 * core::kMiB;
    limits.open_files = 1024;
    return limits;
  }();
  return generous.*field.member;
}

std::vector<Setting> webhook_settings() {
  constexpr std::uint64_t kMinute = 60'000, kHour = 60 * kMinute;
  const WebhookDeliverer::Options options;
  const auto& schedule = options.schedule;
  const auto count = [](auto number) { return static_cast<std::uint64_t>(number); };
  return {
      boolean_setting("webhook.allow_private", &Config::webhook_allow_private, options.rules.allow_private,
                      "webhooks may go to addresses that are not the public internet's: this machine, private networks"),
      boolean_setting("webhook.allow_http", &Config::webhook_allow_http, options.rules.allow_http,
                      "webhooks may go to http:// URLs, unencrypted"),
      text_setting("webhook.ca_file", &Config::webhook_ca_file, "",
                   "PEM file of certificate authorities that receivers of webhooks may have, beside the system's; bailiffd's user must be "
                   "able to read it"),
      integer_setting("webhook.max_deliveries", &Config::webhook_max_deliveries, options.at_one_time, 1, 1024,
                      "webhooks being delivered at one time; those of one receiver are at most a quarter"),
      integer_setting("webhook.timeout_ms", &Config::webhook_timeout_ms, count(options.attempt_time.count()), 1, 10 * kMinute,
                      "longest time of one attempt to deliver a webhook"),
      integer_setting("webhook.max_attempts", &Config::webhook_max_attempts, count(schedule.most_attempts), 1, 100,
                      "attempts to deliver a webhook before it is given up"),
      integer_setting("webhook.first_retry_ms", &Config::webhook_first_retry_ms, count(schedule.first_delay.count()), 1, 24 * kHour,
                      "time from a webhook's first attempt to its second; each further one is three times as long"),
      integer_setting("webhook.longest_retry_ms", &Config::webhook_longest_retry_ms, count(schedule.longest_delay.count()), 1,
                      7 * 24 * kHour, "longest time between two attempts, whatever the receiver's Retry-After asks for"),
  };
}

std::vector<Setting> retention_settings() {
  return {
      integer_setting("retention.max_age_s", &Config::retention_max_age_s, 0, 0, 1'000'000'000,
                      "finished jobs are deleted so long after their end, with their outputs; 0: never"),
      integer_setting("retention.max_jobs", &Config::retention_max_jobs, 0, 0, 1'000'000'000,
                      "the newest jobs that are kept; older ones are deleted once they are finished; 0: all"),
      integer_setting("retention.blob_age_s", &Config::retention_blob_age_s, 86'400, 60, 1'000'000'000,
                      "blobs that no stored job needs are deleted so long after their last use"),
  };
}

std::vector<Setting> make_settings() {
  constexpr std::uint64_t kHour = 3'600'000;
  const HttpBounds bounds;
  std::vector<Setting> all = {
      text_setting("listen", &Config::listen, "127.0.0.1:8080", "ADDRESS:PORT to serve HTTP on; port 0 picks a free one"),
      text_setting("data", &Config::data, "/var/lib/bailiff", "directory of the database; made where it does not exist"),
      integer_setting("slots", &Config::slots, 0, 0, 1024, "steps that run at one time; 0: one for each CPU"),
      integer_setting("net_class_id", &Config::net_class_id, 0, 0, UINT32_MAX,
                      "net_cls class of the packets of steps, 0xAAAABBBB as a whole number; 0: none"),
      integer_setting("net_priority", &Config::net_priority, 0, 0, UINT32_MAX,
                      "net_prio priority of the packets of steps on every interface; 0: none"),
      integer_setting("clock_start_s", &Config::clock_start_s, 0, 0, 1'000'000'000,
                      "what a program's monotonic and boot clocks start at, in seconds"),
      list_setting("slot_cpus", &Config::slot_cpus, "CPUs of each slot, one cpuset list a slot (\"0\", \"2-3\"); empty: not pinned"),
      text_setting("user", &Config::user, "",
                   "user name or UID:GID that bailiffd becomes; empty: user bailiff, or 65534:65534 without one"),
      text_setting("languages", &Config::languages, "", "directory of language definitions; empty: the one that came with the program"),
      text_setting("web", &Config::web, "", "directory of the built web pages; empty: those that came with the program; none: no pages"),
      text_setting("launcher", &Config::launcher, "", "path of bailiff-launcher; empty: beside bailiffd"),
      text_setting("log_level", &Config::log_level, "info", "least important lines to log: debug, info, warn or error"),
      boolean_setting("allow_insecure_listen", &Config::allow_insecure_listen, false,
                      "without API keys, serve on an address that is not loopback though everybody who reaches it may run programs"),
      integer_setting("max_body_bytes", &Config::max_body_bytes, bounds.body_bytes, 1024, core::kGiB, "largest request body"),
      integer_setting("max_bodies_bytes", &Config::max_bodies_bytes, bounds.bodies_bytes, 1024, 64 * core::kGiB,
                      "request bodies held at one time, over all connections"),
      integer_setting("max_blob_bytes", &Config::max_blob_bytes, bounds.blob_bytes, 1, core::kGiB, "largest blob"),
      integer_setting("max_blobs_bytes", &Config::max_blobs_bytes, bounds.blobs_bytes, 1, 1024 * core::kGiB,
                      "all blobs together; more are refused with 503"),
      integer_setting("max_artifact_bytes", &Config::max_artifact_bytes, 64 * core::kMiB, 1, core::kGiB,
                      "all artifacts of a job together; more are left out, and the job says so"),
      integer_setting("max_batch_jobs", &Config::max_batch_jobs, bounds.batch_jobs, 1, 10'000, "jobs in one request to /v1/jobs:batch"),
      integer_setting("max_connections", &Config::max_connections, bounds.connections, 1, 1'000'000, "HTTP connections at one time"),
      integer_setting("header_timeout_ms", &Config::header_timeout_ms, bounds.header_time.count(), 1, kHour,
                      "longest time for a request's header to arrive"),
      integer_setting("body_timeout_ms", &Config::body_timeout_ms, bounds.body_time.count(), 1, kHour,
                      "longest time for a request's body to arrive"),
      integer_setting("idle_timeout_ms", &Config::idle_timeout_ms, bounds.idle_time.count(), 1, kHour,
                      "how long an idle connection is kept"),
      integer_setting("write_timeout_ms", &Config::write_timeout_ms, bounds.write_time.count(), 1, kHour,
                      "longest time for a client to take a slice of an answer"),
      integer_setting("max_wait_ms", &Config::max_wait_ms, bounds.longest_wait.count(), 1, kHour,
                      "longest time that Prefer: wait may hold an answer"),
      integer_setting("max_queued_jobs", &Config::max_queued_jobs, 100'000, 1, 100'000'000,
                      "jobs not yet finished; more are refused with 429"),
      integer_setting("max_attempts", &Config::max_attempts, 3, 1, 20, "times a job is tried when the sandbox, not the program, fails"),
      integer_setting("max_pause_ms", &Config::max_pause_ms, kHour, 1, 24 * kHour,
                      "longest time that a job stays paused; it goes on by itself then"),
      integer_setting("drain_seconds", &Config::drain_seconds, 30, 0, 86'400, "after SIGTERM, how long running jobs may take to end"),
  };
  for (auto& setting : retention_settings()) all.push_back(std::move(setting));
  all.push_back(text_setting("tls.certificate", &Config::tls_certificate, "",
                             "PEM file of the certificate and its chain, to serve HTTPS and nothing else; bailiffd's user must be able to "
                             "read it, and it is read again on SIGHUP; empty: HTTP"));
  all.push_back(text_setting("tls.key", &Config::tls_key, "", "PEM file of the certificate's private key, without a passphrase; likewise"));
  for (auto& setting : webhook_settings()) all.push_back(std::move(setting));
  all.push_back(driver_setting());
  all.push_back(text_setting("cgroup.parent", &Config::cgroup_parent, "bailiff",
                             "name of the cgroup, below the launcher's own, that holds every slot's"));
  for (const auto& field : core::kLimitFields)
    all.push_back(limit_setting("limits", &Config::limits, field, field.default_value, "default of a step"));
  for (const auto& field : core::kLimitFields)
    all.push_back(limit_setting("compile", &Config::compile, field, compile_default(field), "default of a compile step"));
  for (const auto& field : core::kLimitFields)
    all.push_back(limit_setting("ceiling", &Config::ceiling, field, field.ceiling, "most that a request may ask for"));
  return all;
}

const Setting* find_setting(std::string_view name) {
  const auto& all = settings();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Setting& s) { return s.name == name; });
  return found == all.end() ? nullptr : &*found;
}

core::Status set(Config& config, const Setting& setting, const std::string& value, const std::string& source, const std::string& shown_as) {
  if (auto done = setting.set(config, value); !done) return invalid(fmt::format("{}: {}", shown_as, done.error().what));
  config.sources[setting.name] = source;
  return {};
}

/// The text of a TOML value of the setting's type, as a flag would have it.
core::Result<std::string> toml_text(const Setting& setting, const toml::node& node) {
  switch (setting.type) {
    case SettingType::text:
      if (const auto* value = node.as_string()) return value->get();
      return expected("a string");
    case SettingType::integer:
      if (const auto* value = node.as_integer()) return std::to_string(value->get());
      return expected("a whole number");
    case SettingType::number:
      if (const auto* value = node.as_integer()) return std::to_string(value->get());
      if (const auto* value = node.as_floating_point()) return fmt::format("{}", value->get());
      return expected("a number");
    case SettingType::boolean:
      if (const auto* value = node.as_boolean()) return std::string(value->get() ? "true" : "false");
      return expected("true or false");
    case SettingType::list: {
      const auto* array = node.as_array();
      if (array == nullptr || !std::all_of(array->begin(), array->end(), [](const toml::node& n) { return n.is_string(); }))
        return expected("a list of strings");
      std::string words;
      for (const auto& item : *array) words += (words.empty() ? "" : " ") + item.as_string()->get();
      return words;
    }
  }
  return expected("a value");
}

core::Status apply_table(Config& config, const toml::table& table, const std::string& prefix, const std::string& path) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const auto place = fmt::format("{}:{}: {}", path, node.source().begin.line, name);
    const Setting* setting = find_setting(name);
    if (setting == nullptr) {
      const auto is_in_it = [&](const Setting& s) { return s.name.starts_with(name + "."); };
      if (std::ranges::none_of(settings(), is_in_it)) return invalid(place + ": there is no such setting");
      if (!node.is_table()) return invalid(place + ": expected a table");
      if (auto done = apply_table(config, *node.as_table(), name + ".", path); !done) return done;
      continue;
    }
    const auto text = toml_text(*setting, node);
    if (!text) return invalid(place + ": " + text.error().what);
    if (auto done = set(config, *setting, *text, "file " + path, place); !done) return done;
  }
  return {};
}

core::Status apply_file(Config& config, const std::string& path) {
  try {
    return apply_table(config, toml::parse_file(path), "", path);
  } catch (const toml::parse_error& error) {
    return invalid(fmt::format("{}:{}: {}", path, error.source().begin.line, error.description()));
  }
}

core::Status apply_environment(Config& config, const std::map<std::string, std::string>& environment) {
  for (const auto& [name, value] : environment) {
    if (name == "BAILIFF_CONFIG" || std::find(kClientVariables.begin(), kClientVariables.end(), name) != kClientVariables.end()) continue;
    const auto& all = settings();
    const auto setting = std::find_if(all.begin(), all.end(), [&](const Setting& s) { return environment_name(s) == name; });
    if (setting == all.end()) return invalid(fmt::format("environment variable {}: there is no such setting", name));
    if (auto done = set(config, *setting, value, "environment " + name, "environment variable " + name); !done) return done;
  }
  return {};
}

std::map<std::string, std::string> our_variables(const std::vector<std::string>& environment) {
  std::map<std::string, std::string> ours;
  for (const auto& entry : environment) {
    const auto equals = entry.find('=');
    if (equals != std::string::npos && entry.starts_with(kEnvironmentPrefix)) ours[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return ours;
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

/// The definitions in the source tree that the binary was built in, else those installed beside it.
std::string find_languages() {
  std::error_code ignored;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto folder = binary.parent_path();
  for (const auto& candidate : {folder / "../../images/definitions/languages", folder / "../share/bailiff/languages"}) {
    const auto path = std::filesystem::weakly_canonical(candidate, ignored);
    if (std::filesystem::is_directory(path, ignored)) return path.string();
  }
  return "";
}

/// The pages built beside the binary, else those installed with it; "none" where there are none.
std::string find_web() {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& candidate : {folder / "web", folder / "../share/bailiff/web"})
    if (std::filesystem::is_regular_file(candidate / "index.html", ignored))
      return std::filesystem::weakly_canonical(candidate, ignored).string();
  return "none";
}

/// Checks what no single setting can, and fills in what depends on the machine.
core::Status complete(Config& config) {
  if (config.slots == 0) config.slots = usable_cpus();
  if (config.languages.empty()) config.languages = find_languages();
  config.web_found = config.web.empty();
  if (config.web_found) config.web = find_web();
  if (config.data.empty()) return invalid("data: expected the path of a directory");
  if (auto level = log_level_from_name(config.log_level); !level) return invalid("log_level: " + level.error().what);
  if (config.slot_cpus.size() > config.slots)
    return invalid(fmt::format("slot_cpus: names {} slots, there are {}", config.slot_cpus.size(), config.slots));
  if (config.cgroup_parent.empty() || config.cgroup_parent.find('/') != std::string::npos || config.cgroup_parent.starts_with('.'))
    return invalid("cgroup.parent: expected one name without \"/\"");
  for (const auto& [table, group] : {std::pair{"limits", &Config::limits}, std::pair{"compile", &Config::compile}}) {
    for (const auto& field : core::kLimitFields) {
      auto& value = config.*group.*field.member;
      const auto most = config.ceiling.*field.member;
      if (field.order(value) <= field.order(most)) continue;
      const auto name = fmt::format("{}.{}", table, field.name);
      if (config.sources[name] != "default")
        return invalid(
            fmt::format("{} = {} is above ceiling.{} = {}", name, limit_text(field, value), field.name, limit_text(field, most)));
      value = most;
    }
  }
  if (config.tls_certificate.empty() != config.tls_key.empty())
    return invalid(config.tls_key.empty() ? "tls.key: expected the key of tls.certificate"
                                          : "tls.certificate: expected the certificate of tls.key");
  const auto endpoint = parse_endpoint(config.listen);
  if (!endpoint) return invalid("listen: " + endpoint.error().what);
  return {};
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = make_settings();
  return all;
}

std::string flag_name(const Setting& setting) { return "--" + name_with(setting, '-', std::tolower); }
std::string environment_name(const Setting& setting) { return std::string(kEnvironmentPrefix) + name_with(setting, '_', std::toupper); }

core::Result<CommandLine> load_config(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  CLI::App app("bailiffd: runs programs that nobody trusts, and serves them over HTTP", "bailiffd");
  app.footer("Every setting is also an environment variable (--max-body-bytes: BAILIFF_MAX_BODY_BYTES) and a key of the TOML file.\n"
             "A flag wins over the environment, that over the file, that over the default.");
  std::string file;
  bool print = false;
  app.add_option("--config", file, "TOML file with settings (BAILIFF_CONFIG)");
  app.add_flag("--print-config", print, "print every setting, its meaning and where its value came from, as TOML; then exit");
  app.set_version_flag("--version", "bailiffd " BAILIFF_VERSION);
  std::map<std::string, std::string> given;
  for (const auto& setting : settings()) {
    if (setting.type == SettingType::boolean) {  // bare, or --name=false
      app.add_flag(flag_name(setting), given[setting.name], setting.doc)->default_str(setting.default_value);
      continue;
    }
    const auto* type = setting.type == SettingType::text ? "TEXT" : setting.type == SettingType::list ? "LIST" : "NUMBER";
    app.add_option(flag_name(setting), given[setting.name], setting.doc)->default_str(setting.default_value)->type_name(type);
  }
  CommandLine result;
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return CommandLine{CommandLine::Action::print_text, app.help(), {}};
  } catch (const CLI::CallForVersion&) {
    return CommandLine{CommandLine::Action::print_text, "bailiffd " BAILIFF_VERSION "\n", {}};
  } catch (const CLI::ParseError& error) {
    return invalid(error.what());
  }
  Config& config = result.config;
  for (const auto& setting : settings())
    if (auto done = set(config, setting, setting.default_value, "default", setting.name); !done) return std::unexpected(done.error());
  const auto variables = our_variables(environment);
  if (file.empty() && variables.contains("BAILIFF_CONFIG")) file = variables.at("BAILIFF_CONFIG");
  if (!file.empty())
    if (auto done = apply_file(config, file); !done) return std::unexpected(done.error());
  if (auto done = apply_environment(config, variables); !done) return std::unexpected(done.error());
  for (const auto& setting : settings()) {
    const auto flag = flag_name(setting);
    if (app.count(flag) == 0) continue;
    if (auto done = set(config, setting, given[setting.name], "flag " + flag, flag); !done) return std::unexpected(done.error());
  }
  if (auto done = complete(config); !done) return std::unexpected(done.error());
  if (print) result.action = CommandLine::Action::print_config;
  return result;
}

std::string print_config(const Config& config) {
  std::string text, table;
  for (const auto& setting : settings()) {
    const auto dot = setting.name.find('.');
    const auto group = dot == std::string::npos ? "" : setting.name.substr(0, dot);
    if (group != table) text += fmt::format("[{}]\n", group);
    table = group;
    const auto source = config.sources.find(setting.name);
    text += fmt::format("# {} (from: {})\n{} = {}\n", setting.doc, source == config.sources.end() ? "default" : source->second,
                        dot == std::string::npos ? setting.name : setting.name.substr(dot + 1), setting.get(config));
  }
  return text;
}

core::Result<Endpoint> parse_endpoint(std::string_view text) {
  const auto wrong = [] { return expected("ADDRESS:PORT with an IP address, such as 127.0.0.1:8080 or [::1]:8080"); };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  auto host = text.substr(0, colon);
  const auto port_text = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  Endpoint endpoint;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), endpoint.port);
  if (port_text.empty() || error != std::errc() || end != port_text.data() + port_text.size()) return wrong();
  endpoint.address = host == "localhost" ? "127.0.0.1" : std::string(host);
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(endpoint.address, failed);
  if (failed || address.is_v6() != bracketed) return wrong();
  return endpoint;
}

bool is_loopback(const Endpoint& endpoint) {
  boost::system::error_code failed;
  return boost::asio::ip::make_address(endpoint.address, failed).is_loopback() && !failed;
}

}  // namespace bailiff::server
