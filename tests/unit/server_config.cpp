// Settings: where they come from, which wins, what is refused and how it is said. And log lines that nothing can forge.
#include "server/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "server/log.h"
#include "server/privileges.h"

namespace bailiff::server {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  std::string file(const std::string& text) {
    std::ofstream(path_) << text;
    return path_;
  }
  static std::string failure(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}) {
    const auto line = load_config(arguments, environment);
    return line ? "no error" : line.error().what;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ = ::testing::TempDir() + "bailiff-config-" + std::to_string(::getpid()) + ".toml";
};

TEST_F(ConfigTest, DefaultsAreComplete) {
  const auto line = load_config({}, {"PATH=/bin"});
  ASSERT_TRUE(line) << line.error().what;
  const Config& config = line->config;
  EXPECT_EQ(config.listen, "127.0.0.1:8080");
  EXPECT_GE(config.slots, 1u);
  EXPECT_EQ(config.limits, core::default_limits());
  EXPECT_EQ(config.ceiling, core::ceiling_limits());
  EXPECT_EQ(config.compile.cpu_time_us, 30'000'000u);
  EXPECT_EQ(config.compile.processes, 256u);
  EXPECT_EQ(config.max_attempts, 3u);
  EXPECT_EQ(config.sources.at("listen"), "default");
}

TEST_F(ConfigTest, FlagOverEnvironmentOverFileOverDefault) {
  const auto path = file("slots = 2\ndrain_seconds = 5\nmax_attempts = 7\n[limits]\ncpus = 0.5\nmemory_bytes = 1048576\n");
  const auto line = load_config({"--config", path, "--slots", "4"}, {"BAILIFF_SLOTS=3", "BAILIFF_DRAIN_SECONDS=6"});
  ASSERT_TRUE(line) << line.error().what;
  EXPECT_EQ(line->config.slots, 4u);
  EXPECT_EQ(line->config.drain_seconds, 6u);
  EXPECT_EQ(line->config.max_attempts, 7u);
  EXPECT_EQ(line->config.limits.cpus_milli, 500u);
  EXPECT_EQ(line->config.limits.memory_bytes, core::kMiB);
  EXPECT_EQ(line->config.sources.at("slots"), "flag --slots");
  EXPECT_EQ(line->config.sources.at("drain_seconds"), "environment BAILIFF_DRAIN_SECONDS");
  EXPECT_EQ(line->config.sources.at("max_attempts"), "file " + path);
}

TEST_F(ConfigTest, ZeroIsNoCapOnInputAndOutput) {
  const auto line = load_config({"--ceiling-io-read-bytes-per-s", "5000000", "--limits-io-write-bytes-per-s", "0"}, {});
  ASSERT_TRUE(line) << line.error().what;
  EXPECT_EQ(line->config.limits.io_read_bytes_per_s, 5'000'000u) << "a default of none is above the ceiling";
  EXPECT_EQ(line->config.limits.io_write_bytes_per_s, 0u);
  EXPECT_EQ(line->config.ceiling.io_write_bytes_per_s, 0u);
  EXPECT_FALSE(load_config({"--limits-io-read-bytes-per-s", "1000"}, {}));
  EXPECT_FALSE(load_config({"--ceiling-io-read-bytes-per-s", "5000000", "--limits-io-read-bytes-per-s", "0"}, {}));
}

TEST_F(ConfigTest, TheFileMayComeFromTheEnvironment) {
  const auto line = load_config({}, {"BAILIFF_CONFIG=" + file("slot_cpus = [\"0\", \"0-1\"]\nslots = 2\n")});
  ASSERT_TRUE(line) << line.error().what;
  EXPECT_EQ(line->config.slot_cpus, (std::vector<std::string>{"0", "0-1"}));
}

TEST_F(ConfigTest, TheCgroupTable) {
  const auto line = load_config({"--config", file("[cgroup]\ndriver = \"systemd\"\nparent = \"mine\"\n")}, {"BAILIFF_CGROUP_PARENT=ours"});
  ASSERT_TRUE(line) << line.error().what;
  EXPECT_EQ(line->config.cgroup_driver, sandbox::CgroupDriver::systemd);
  EXPECT_EQ(line->config.cgroup_parent, "ours");
  EXPECT_EQ(load_config({}, {})->config.cgroup_driver, sandbox::CgroupDriver::automatic);
  EXPECT_EQ(load_config({"--cgroup-driver", "cgroupfs"}, {})->config.cgroup_driver, sandbox::CgroupDriver::cgroupfs);
  EXPECT_NE(failure({"--cgroup-driver", "docker"}).find("--cgroup-driver: expected auto, cgroupfs or systemd"), std::string::npos);
  EXPECT_NE(failure({"--config", file("cgroup = 1\n")}).find("cgroup: expected a table"), std::string::npos);
}

TEST_F(ConfigTest, UnknownNamesAreNamed) {
  EXPECT_NE(failure({"--colour", "red"}).find("--colour"), std::string::npos);
  EXPECT_NE(failure({}, {"BAILIFF_COLOUR=red"}).find("BAILIFF_COLOUR"), std::string::npos);
  const auto in_file = failure({"--config", file("\ncolour = 1\n")});
  EXPECT_NE(in_file.find(":2: colour: there is no such setting"), std::string::npos) << in_file;
  const auto in_table = failure({"--config", file("[limits]\ncolour = 1\n")});
  EXPECT_NE(in_table.find("limits.colour"), std::string::npos) << in_table;
}

TEST_F(ConfigTest, WrongTypesNameTheKeyAndTheExpectation) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"slots = \"2\"", ":1: slots: expected a whole number"},
      {"slots = -1", ":1: slots: expected a whole number from 0 to 1024"},
      {"listen = 8080", ":1: listen: expected a string"},
      {"allow_insecure_listen = 1", ":1: allow_insecure_listen: expected true or false"},
      {"slot_cpus = \"0\"", ":1: slot_cpus: expected a list of strings"},
      {"limits = 3", ":1: limits: expected a table"},
      {"[limits]\nmemory_bytes = 0.5", "limits.memory_bytes: expected a whole number"},
      {"[limits]\nmemory_bytes = 1", "limits.memory_bytes: expected a whole number from 1048576"},
      {"[limits]\ncpus = inf", "limits.cpus: expected a number from 0.01"},
      {"slots = ", ":1: "},
  };
  for (const auto& [text, expected] : cases) {
    const auto said = failure({"--config", file(text)});
    EXPECT_NE(said.find(expected), std::string::npos) << text << " said: " << said;
  }
  EXPECT_EQ(failure({"--slots", "many"}), "--slots: expected a whole number from 0 to 1024");
  EXPECT_EQ(failure({}, {"BAILIFF_SLOTS="}), "environment variable BAILIFF_SLOTS: expected a whole number from 0 to 1024");
  EXPECT_NE(failure({"--log-level", "loud"}).find("log_level: expected debug, info, warn or error"), std::string::npos);
}

TEST_F(ConfigTest, ADefaultAboveTheCeilingIsRefusedAndAnUnsetOneIsLowered) {
  EXPECT_EQ(failure({"--limits-memory-bytes", "2097152", "--ceiling-memory-bytes", "1048576"}),
            "limits.memory_bytes = 2097152 is above ceiling.memory_bytes = 1048576");
  const auto line = load_config({"--ceiling-memory-bytes", "1048576"}, {});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->config.limits.memory_bytes, core::kMiB);
  EXPECT_EQ(line->config.compile.memory_bytes, core::kMiB);
}

TEST_F(ConfigTest, AddressesAreWhatTheySay) {
  for (const char* address : {"0.0.0.0:80", "[::]:80", "192.168.1.1:80", "[2001:db8::1]:80"})
    EXPECT_FALSE(is_loopback(*parse_endpoint(load_config({"--listen", address}, {})->config.listen))) << address;
  for (const char* address : {"127.0.0.1:0", "127.8.9.1:80", "[::1]:80", "localhost:80"})
    EXPECT_TRUE(is_loopback(*parse_endpoint(address))) << address;
  for (const char* address : {"127.0.0.1:0", "127.8.9.1:80", "[::1]:80", "localhost:80"})
    EXPECT_TRUE(load_config({"--listen", address}, {})) << address;
  for (const char* address :
       {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80", "example.org:80", "127.0.0.1:8x"})
    EXPECT_NE(failure({"--listen", address}).find("listen: expected ADDRESS:PORT"), std::string::npos) << address;
}

TEST_F(ConfigTest, WhatIsPrintedIsTomlThatMeansTheSame) {
  const auto first =
      load_config({"--slots", "3", "--slot-cpus", "0 1 0-1", "--limits-cpus", "1.5", "--data", "/tmp/a \"quoted\" place"}, {});
  ASSERT_TRUE(first) << first.error().what;
  const auto text = print_config(first->config);
  EXPECT_NE(text.find("(from: flag --slots)"), std::string::npos);
  const auto second = load_config({"--config", file(text)}, {});
  ASSERT_TRUE(second) << second.error().what;
  EXPECT_EQ(second->config.data, "/tmp/a \"quoted\" place");
  EXPECT_EQ(second->config.slot_cpus, first->config.slot_cpus);
  EXPECT_EQ(second->config.limits, first->config.limits);
  EXPECT_EQ(second->config.compile, first->config.compile);
  for (const auto& setting : settings()) {
    EXPECT_EQ(setting.get(second->config), setting.get(first->config)) << setting.name;
    EXPECT_TRUE(toml::parse(text).at_path(setting.name)) << setting.name;
  }
}

TEST_F(ConfigTest, HelpHasEverySetting) {
  const auto line = load_config({"--help"}, {});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->action, CommandLine::Action::print_text);
  for (const auto& setting : settings()) EXPECT_NE(line->text.find(flag_name(setting)), std::string::npos) << setting.name;
}

TEST(Log, NothingInAValueCanForgeALineOrATerminalSequence) {
  EXPECT_EQ(log_text("job finished", {{"job", "01ab"}, {"n", 3}, {"text", "a b"}}), "event=\"job finished\" job=01ab n=3 text=\"a b\"");
  EXPECT_EQ(log_text("e", {{"v", std::string("x\ny level=error\x1b[2J\"\\\0z", 23)}}),
            "event=\"e\" v=\"x\\ny level=error\\x1b[2J\\\"\\\\\\x00z\"");
  EXPECT_EQ(log_text("e", {{"v", "\xe2\x80\xae"}}), "event=\"e\" v=\"\\xe2\\x80\\xae\"");
  EXPECT_EQ(log_text("e", {{"v", ""}}), "event=\"e\" v=\"\"");
  EXPECT_LT(log_text("e", {{"v", std::string(1 << 20, 'a')}}).size(), 3000u);
}

TEST(Privileges, IdentitiesAreNeverRoot) {
  EXPECT_TRUE(find_identity("1000:1001"));
  EXPECT_EQ(find_identity("1000:1001")->gid, 1001u);
  for (const char* text : {"0:1", "1:0", "1:", ":1", "a:b", "1:2:3", "-1:1", "4294967295:1", "root", "no-such-user-at-all"})
    EXPECT_FALSE(find_identity(text)) << text;
  EXPECT_NE(find_identity("")->uid, 0u);
}

TEST(Privileges, ADirectoryOfSomebodyElsesIsNotTaken) {
  namespace fs = std::filesystem;
  const fs::path directory = fs::path(::testing::TempDir()) / ("bailiff-data-" + std::to_string(::getpid()));
  fs::create_directories(directory);
  std::ofstream(directory / "passwd") << "x";
  const Identity self{::getuid() == 0 ? 65534 : ::getuid(), ::getgid() == 0 ? 65534 : ::getgid()};
  const auto refused = prepare_data_directory(directory.string(), self);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("passwd"), std::string::npos);
  fs::remove(directory / "passwd");
  fs::create_symlink("/etc/passwd", directory / "bailiff.db");
  EXPECT_FALSE(prepare_data_directory(directory.string(), self)) << "a link in the place of the database";
  fs::remove(directory / "bailiff.db");
  std::ofstream(directory / "bailiff.db") << "x";
  EXPECT_TRUE(prepare_data_directory(directory.string(), self));
  fs::remove_all(directory);
}

/// docs/settings.md as the table of settings has it.
std::string settings_document() {
  std::string text =
      "# Settings of bailiffd\n\nWritten from the table in `server/config.cpp`; `BAILIFF_WRITE_DOCS=1 build/release/unit_server "
      "--gtest_filter=Settings.*` writes it anew.\nEach is a key of the TOML file, a flag (`max_body_bytes`: `--max-body-bytes`; "
      "`ceiling.cpus`: "
      "`--ceiling-cpus`) and an environment variable\n(`BAILIFF_MAX_BODY_BYTES`).\n\n| setting | default | what it is |\n|---|---|---|\n";
  for (const auto& setting : settings()) {
    std::string doc;
    for (const char c : setting.doc) doc += c == '|' ? "\\|" : std::string(1, c);
    const auto& value = setting.default_value;
    text += "| `" + setting.name + "` | " + (value.empty() ? "" : "`" + value + "`") + " | " + doc + " |\n";
  }
  return text;
}

TEST(Settings, DocumentIsWhatTheTableSays) {
  if (std::getenv("BAILIFF_WRITE_DOCS") != nullptr) std::ofstream(BAILIFF_SETTINGS_DOCUMENT) << settings_document();
  std::ifstream stream(BAILIFF_SETTINGS_DOCUMENT);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), settings_document());
}

}  // namespace
}  // namespace bailiff::server
