#include "images/mmdebstrap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace bailiff::images {
namespace {

constexpr std::size_t kMaxLineBytes = 16 * 1024;
constexpr std::chrono::seconds kMostDyingTime(30);
constexpr const char* kProgram = "/usr/bin/mmdebstrap";
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::string_view kDirectoryPrefix = "bailiff-build.";
// From the outside in: dies with us; dies with its processes and mounts; cannot be signalled by accident.
constexpr const char* kWalls[] = {"/usr/bin/setpriv", "--pdeathsig", "KILL",  "--",     "/usr/bin/unshare",  "--mount",
                                  "--propagation",    "private",     "--pid", "--fork", "--kill-child=KILL", "--mount-proc"};

void remove_directory(const std::string& directory) {
  std::error_code fault;
  std::filesystem::remove_all(directory, fault);
}

/// What killed builds left: directories of ours that nobody has locked.
void remove_leftovers() {
  std::error_code fault;
  for (std::filesystem::directory_iterator entry(kBuildParent, fault), end; !fault && entry != end; entry.increment(fault)) {
    const std::string path = entry->path().string();
    if (!entry->path().filename().string().starts_with(kDirectoryPrefix)) continue;
    const core::Fd held(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat info{};
    if (!held.valid() || ::fstat(held.get(), &info) != 0 || info.st_uid != ::geteuid()) continue;
    if (::flock(held.get(), LOCK_EX | LOCK_NB) == 0) remove_directory(path);
  }
}

}  // namespace

Mmdebstrap::Mmdebstrap(Mmdebstrap&& other) noexcept
    : said_(std::move(other.said_)), lock_(std::move(other.lock_)), directory_(std::exchange(other.directory_, "")),
      pid_(std::exchange(other.pid_, -1)) {}

Mmdebstrap::~Mmdebstrap() {
  if (pid_ > 0) {
    (void)::kill(pid_, SIGKILL);
    (void)wait();
    // What died with it is gone once nobody can say anything any more; until then it would write into what we remove.
    std::array<char, 4096> piece{};
    const auto deadline = std::chrono::steady_clock::now() + kMostDyingTime;
    pollfd entry{said_.get(), POLLIN, 0};
    while (std::chrono::steady_clock::now() < deadline)
      if (::poll(&entry, 1, 100) > 0 && ::read(said_.get(), piece.data(), piece.size()) == 0) break;
  }
  if (!directory_.empty()) remove_directory(directory_);
}

core::Result<Mmdebstrap> Mmdebstrap::start(const std::vector<std::string>& arguments, int output) {
  for (const char* program : {kProgram, kWalls[0], kWalls[4]})
    if (::access(program, X_OK) != 0)
      return core::error(core::ErrorKind::unavailable, fmt::format("{} is missing: apt-get install mmdebstrap util-linux", program));
  Mmdebstrap process;
  if (auto made = process.make_directory(); !made) return std::unexpected(std::move(made.error()));
  if (auto spawned = process.spawn(arguments, output); !spawned) return std::unexpected(std::move(spawned.error()));
  return process;
}

core::Status Mmdebstrap::make_directory() {
  remove_leftovers();
  std::string path = fmt::format("{}/{}XXXXXX", kBuildParent, kDirectoryPrefix);
  if (::mkdtemp(path.data()) == nullptr) return core::errno_error("make a directory in " + std::string(kBuildParent));
  directory_ = path;
  lock_ = core::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  // apt downloads as a user of its own, who has to get in.
  if (!lock_.valid() || ::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0 || ::fchmod(lock_.get(), 0755) != 0)
    return core::errno_error("use " + path);
  return {};
}

core::Status Mmdebstrap::spawn(const std::vector<std::string>& arguments, int output) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return core::errno_error("pipe");
  said_ = core::Fd(ends[0]);
  const core::Fd theirs(ends[1]);
  std::vector<std::string> environment = {kPath, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "PYTHONHASHSEED=0",
                                          "TMPDIR=" + directory_};
  for (const char* passed : {"http_proxy", "https_proxy", "no_proxy"})
    if (const char* value = std::getenv(passed)) environment.push_back(fmt::format("{}={}", passed, value));
  std::vector<char*> argv, envp;
  for (const char* word : kWalls) argv.push_back(const_cast<char*>(word));
  argv.push_back(const_cast<char*>(kProgram));
  for (const auto& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
  for (const auto& variable : environment) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (::posix_spawn_file_actions_init(&actions) != 0 || ::posix_spawnattr_init(&attributes) != 0)
    return core::errno_error("start mmdebstrap");
  sigset_t none;
  sigemptyset(&none);
  (void)::posix_spawnattr_setsigmask(&attributes, &none);
  (void)::posix_spawnattr_setpgroup(&attributes, 0);  // Ctrl-C is for us to act on
  (void)::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  (void)::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  (void)::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  (void)::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDERR_FILENO);
  errno = ::posix_spawn(&pid_, argv.front(), &actions, &attributes, argv.data(), envp.data());
  auto failed = core::errno_error("start mmdebstrap");
  const bool started = errno == 0;
  (void)::posix_spawn_file_actions_destroy(&actions);
  (void)::posix_spawnattr_destroy(&attributes);
  if (started) return {};
  pid_ = -1;
  return failed;
}

core::Status Mmdebstrap::follow(std::chrono::seconds at_most, int cancel, const std::function<void(const std::string& line)>& take) {
  std::string line;
  std::array<char, 4096> piece{};
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd entries[] = {{said_.get(), POLLIN, 0}, {cancel, POLLIN, 0}};
    if (::poll(entries, 2, 1000) <= 0) continue;
    if (entries[1].revents != 0) return core::error(core::ErrorKind::unavailable, "cancelled");
    const ssize_t got = ::read(said_.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {};
    for (const char c : std::string_view(piece.data(), static_cast<std::size_t>(got))) {
      if (c != '\n' && c != '\r' && line.size() < kMaxLineBytes) line += c;
      if (c == '\n' || c == '\r') take(std::exchange(line, {}));
    }
  }
  return core::error(core::ErrorKind::unavailable, "mmdebstrap took too long");
}

int Mmdebstrap::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  pid_ = -1;
  return status;
}

}  // namespace bailiff::images
