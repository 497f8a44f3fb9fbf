#pragma once
// The settings of bailiffd. One table (settings()) has each setting's name, type, default and meaning; command-line flags, environment
// variables, the TOML file, --help and --print-config are all made from it. A flag wins over the environment, that over the file, that
// over the default. Anything unknown, in any of the three, is an error that names it.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::server {

struct Config {
  std::string listen, data, user, languages, web, launcher, cgroup_parent, log_level;
  bool web_found = false;  // `web` was found beside the program: nobody asked for it
  sandbox::CgroupDriver cgroup_driver = sandbox::CgroupDriver::automatic;
  std::uint64_t slots = 0;            // never 0 after load_config
  std::vector<std::string> slot_cpus;
  std::uint64_t clock_start_s;
  std::uint64_t net_class_id = 0, net_priority = 0;
  bool allow_insecure_listen = false;
  std::string tls_certificate, tls_key;  // both or none
  std::uint64_t max_body_bytes = 0, max_bodies_bytes = 0, max_batch_jobs = 0, max_connections = 0;
  std::uint64_t header_timeout_ms = 0, body_timeout_ms = 0, idle_timeout_ms = 0, write_timeout_ms = 0, max_wait_ms = 0;
  std::uint64_t max_queued_jobs = 0, max_attempts = 0, max_pause_ms = 0, drain_seconds = 0;
  std::uint64_t retention_max_age_s = 0, retention_max_jobs = 0, retention_blob_age_s = 0;
  std::uint64_t max_blob_bytes = 0, max_blobs_bytes = 0, max_artifact_bytes = 0;
  bool webhook_allow_private = false, webhook_allow_http = false;
  std::string webhook_ca_file;
  std::uint64_t webhook_max_deliveries = 0, webhook_timeout_ms = 0;
  std::uint64_t webhook_max_attempts = 0, webhook_first_retry_ms = 0, webhook_longest_retry_ms = 0;
  core::Limits limits{}, compile{}, ceiling{};  // defaults of a step, of a compile step; the most a request may ask for

  std::map<std::string, std::string> sources;  // setting → "default", "file /etc/bailiff.toml", "environment BAILIFF_X", "flag --x"
};

enum class SettingType { text, integer, number, boolean, list };

struct Setting {
  std::string name;           // "listen", "limits.memory_bytes": also the TOML key
  SettingType type;
  std::string default_value;  // as a flag would have it
  std::string doc;            // one line
  std::function<core::Status(Config&, const std::string&)> set;  // the error says what was expected, not which key
  std::function<std::string(const Config&)> get;                 // as a TOML value
};

[[nodiscard]] const std::vector<Setting>& settings();
/// "limits.memory_bytes" → "--limits-memory-bytes", "BAILIFF_LIMITS_MEMORY_BYTES".
[[nodiscard]] std::string flag_name(const Setting& setting);
[[nodiscard]] std::string environment_name(const Setting& setting);

struct CommandLine {
  enum class Action { run, print_config, print_text } action = Action::run;
  std::string text;  // print_text: --help, --version
  Config config;
};

/// `environment` has "NAME=value" entries; only names that begin with BAILIFF_ are looked at.
core::Result<CommandLine> load_config(const std::vector<std::string>& arguments, const std::vector<std::string>& environment);
/// Valid TOML: every setting with its meaning and where its value came from.
[[nodiscard]] std::string print_config(const Config& config);

struct Endpoint {
  std::string address;  // an IP address, IPv6 without brackets
  std::uint16_t port = 0;
};
/// "127.0.0.1:8080", "[::1]:0".
core::Result<Endpoint> parse_endpoint(std::string_view text);
[[nodiscard]] bool is_loopback(const Endpoint& endpoint);

}  // namespace bailiff::server
