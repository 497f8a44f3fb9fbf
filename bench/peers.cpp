#include "bench/peers.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/rig.h"

namespace bailiff::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr unsigned kMappedIds = 65536, kFirstMappedId = 0x2fff0000;

/// Empty where there is none.
std::string find_program(const std::string& name) {
  for (const char* directory : {"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"})
    if (const std::string path = directory + name; access(path.c_str(), X_OK) == 0) return path;
  return "";
}

/// Runs it with nothing on its standard streams; whether it exited with 0.
bool runs_well(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::string path = std::string("PATH=/usr/sbin:/usr/bin");
  char* const environment[] = {const_cast<char*>(path.c_str()), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int stream = 0; stream < 3; ++stream) posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR | O_CLOEXEC, 0);
  for (int stream = 0; stream < 3; ++stream) posix_spawn_file_actions_adddup2(&actions, stream, stream);  // not close-on-exec any more
  pid_t process = -1;
  const int fault = posix_spawn(&process, argv[0], &actions, nullptr, argv.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return fault == 0 && waitpid(process, &status, 0) == process && status == 0;
}

std::function<void()> job(std::vector<std::string> arguments) {
  return [arguments = std::move(arguments)] {
    if (!runs_well(arguments)) give_up(arguments.front() + " failed");
  };
}

/// The OCI runtime specification's config.json.
json oci_config(const std::string& group, bool has_time_namespace) {
  json namespaces = json::array();
  for (const char* type : {"pid", "network", "ipc", "uts", "mount", "cgroup", "user"}) namespaces.push_back({{"type", type}});
  if (has_time_namespace) namespaces.push_back({{"type", "time"}});
  const json ids = json::array({{{"containerID", 0}, {"hostID", kFirstMappedId}, {"size", kMappedIds}}});
  const auto mount = [](const char* where, const char* type, const char* source, json options) {
    return json{{"destination", where}, {"type", type}, {"source", source}, {"options", std::move(options)}};
  };
  return {{"ociVersion", "1.0.2"},
          {"process",
           {{"terminal", false},
            {"user", {{"uid", 1000}, {"gid", 1000}}},
            {"args", {"/bin/true"}},
            {"env", {"PATH=/usr/bin"}},
            {"cwd", "/"},
            {"noNewPrivileges", true}}},
          {"root", {{"path", "rootfs"}, {"readonly", true}}},
          {"hostname", "peer"},
          {"mounts",
           {mount("/usr", "none", "/usr", {"bind", "ro", "nosuid"}), mount("/proc", "proc", "proc", json::array()),
            mount("/dev", "tmpfs", "tmpfs", {"nosuid", "mode=755", "size=65536k"}),
            mount("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}),
            mount("/tmp", "tmpfs", "tmpfs", {"nosuid", "nodev", "size=16m"})}},
          {"linux",
           {{"namespaces", namespaces},
            {"uidMappings", ids},
            {"gidMappings", ids},
            {"cgroupsPath", group},
            {"resources",
             {{"memory", {{"limit", 64 << 20}}}, {"pids", {{"limit", 32}}}, {"cpu", {{"quota", 100'000}, {"period", 100'000}}}}}}}};
}

void make_bundle(const fs::path& bundle, const json& config) {
  for (const char* directory : {"usr", "proc", "dev", "tmp"}) fs::create_directories(bundle / "rootfs" / directory);
  for (const char* link : {"bin", "sbin", "lib", "lib64"})
    if (!fs::exists(fs::symlink_status(bundle / "rootfs" / link))) fs::create_symlink(std::string("usr/") + link, bundle / "rootfs" / link);
  std::ofstream(bundle / "config.json") << config;
}

}  // namespace

Peers::Peers() : directory_((fs::temp_directory_path() / "bailiff-peers-XXXXXX").string()) {
  if (mkdtemp(directory_.data()) == nullptr) give_up("cannot make " + directory_);
  fs::permissions(directory_, fs::perms(0711));  // the containers' root is not ours
  add_command("unshare", 1,
              {"--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net", "--ipc", "--uts",
               "--cgroup", "--time", "/bin/true"});
  add_command("bwrap", 0.5, {"--unshare-all", "--die-with-parent",
                             "--new-session", "--uid",
                             "1000",          "--gid",
                             "1000",          "--ro-bind",
                             "/usr",          "/usr",
                             "--symlink",     "usr/bin",
                             "/bin",          "--symlink",
                             "usr/lib",       "/lib",
                             "--symlink",     "usr/lib64",
                             "/lib64",        "--proc",
                             "/proc",         "--dev",
                             "/dev",          "--tmpfs",
                             "/tmp",          "/bin/true"});
  add_runtime("crun", 0.25);
  add_runtime("runc", 0.1);
}

Peers::~Peers() {
  std::error_code fault;
  fs::remove_all(directory_, fault);
}

void Peers::add_command(const std::string& program, double share, std::vector<std::string> arguments) {
  const auto path = find_program(program);
  if (path.empty()) return left_out_.push_back(program + " (not installed)");
  arguments.insert(arguments.begin(), path);
  if (!runs_well(arguments)) return left_out_.push_back(program + " (does not work here)");
  usable_.push_back({program, share, [arguments](unsigned) { return job(arguments); }});
}

void Peers::add_runtime(const std::string& program, double share) {
  const auto path = find_program(program);
  if (path.empty()) return left_out_.push_back(program + " (not installed)");
  const auto prepare = [this, program, path](unsigned worker, bool has_time_namespace) {
    const std::string id = "bailiff-bench-" + std::to_string(getpid()) + "-" + std::to_string(worker);
    const fs::path bundle = fs::path(directory_) / (program + std::to_string(worker));
    make_bundle(bundle, oci_config("/" + id, has_time_namespace));
    return std::vector<std::string>{path, "--root", directory_ + "/" + program, "run", "--bundle", bundle.string(), id};
  };
  for (const bool has_time_namespace : {true, false})
    if (runs_well(prepare(0, has_time_namespace)))
      return usable_.push_back({program + (has_time_namespace ? "" : " (no time ns)"), share,
                                [=](unsigned worker) { return job(prepare(worker, has_time_namespace)); }});
  left_out_.push_back(program + " (does not work here)");
}

}  // namespace bailiff::bench
