#include "images/unpacked.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace bailiff::images {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnpackedDirectory = "unpacked";
constexpr const char* kSetPriv = "/usr/bin/setpriv";
constexpr const char* kUnpacker = "/usr/bin/fsck.erofs";
constexpr ::uid_t kNobody = 65534;

fs::path directory_of(const std::string& images_directory, const std::string& digest) {
  return fs::path(images_directory) / kUnpackedDirectory / content_name(digest);
}

/// Into the directory behind `directory`. Neither it nor the content has a name that nobody may look up.
core::Status run_unpacker(int content, int directory) {
  const std::string ids = std::to_string(kNobody);
  const char* const argv[] = {kSetPriv,         "--reuid", ids.c_str(),       "--regid", ids.c_str(), "--clear-groups", "--no-new-privs",
                              "--bounding-set", "-all",    "--pdeathsig",     "KILL",    kUnpacker,   "--extract=.",    "--overwrite",
                              "--force",        "-d1",     "/proc/self/fd/0", nullptr};
  char* const environment[] = {nullptr};
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return core::errno_error("start " + std::string(kUnpacker));
  (void)::posix_spawn_file_actions_adddup2(&actions, content, STDIN_FILENO);
  (void)::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  (void)::posix_spawn_file_actions_addfchdir_np(&actions, directory);
  pid_t pid = -1;
  errno = ::posix_spawn(&pid, kSetPriv, &actions, nullptr, const_cast<char* const*>(argv), environment);
  auto failed = core::errno_error("start " + std::string(kUnpacker));
  const bool started = errno == 0;
  (void)::posix_spawn_file_actions_destroy(&actions);
  if (!started) return failed;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (status != 0) return core::error(core::ErrorKind::internal, fmt::format("{} failed (wait status {})", kUnpacker, status));
  return {};
}

/// What nobody wrote becomes root's, and nobody else's to change.
core::Status take_over(const fs::path& root) {
  std::error_code fault;
  const auto take = [](const fs::path& path) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0 || ::lchown(path.c_str(), 0, 0) != 0) return false;
    return S_ISLNK(info.st_mode) || ::chmod(path.c_str(), info.st_mode & 0755) == 0;
  };
  for (fs::recursive_directory_iterator entry(root, fault), end; !fault && entry != end; entry.increment(fault))
    if (!take(entry->path())) return core::errno_error("take over " + entry->path().string());
  if (fault) return core::error(core::ErrorKind::internal, fmt::format("cannot list {}: {}", root.string(), fault.message()));
  if (!take(root) || ::chmod(root.c_str(), 0755) != 0) return core::errno_error("take over " + root.string());
  return {};
}

}  // namespace

bool kernel_has_erofs() {
  const core::Fd context(static_cast<int>(::syscall(SYS_fsopen, "erofs", FSOPEN_CLOEXEC)));
  return context.valid();
}

core::Status unpack_image(const ImageStore& store, const std::string& digest) {
  if (::geteuid() != 0)
    return core::error(core::ErrorKind::unavailable, "unpacking an image needs root: what it makes is shown by the launcher");
  const fs::path target = directory_of(store.directory(), digest);
  std::error_code fault;
  if (fs::is_directory(target, fault)) return {};
  for (const char* program : {kSetPriv, kUnpacker})
    if (::access(program, X_OK) != 0)
      return core::error(core::ErrorKind::unavailable, fmt::format("{} is missing: apt-get install util-linux erofs-utils", program));
  const auto content = store.hold(digest);
  if (!content) return std::unexpected(content.error());
  if (::mkdir(target.parent_path().c_str(), 0755) != 0 && errno != EEXIST)
    return core::errno_error("make " + target.parent_path().string());
  const fs::path temporary = fmt::format("{}.new-{}", target.string(), ::getpid());
  fs::remove_all(temporary, fault);
  if (::mkdir(temporary.c_str(), 0700) != 0 || ::chown(temporary.c_str(), kNobody, kNobody) != 0)
    return core::errno_error("make " + temporary.string());
  const core::Fd directory(::open(temporary.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid() || ::fchmod(content->get(), 0444) != 0) return core::errno_error("open " + temporary.string());
  auto done = run_unpacker(content->get(), directory.get());
  if (done) done = take_over(temporary);
  if (done && ::rename(temporary.c_str(), target.c_str()) != 0 && errno != EEXIST && errno != ENOTEMPTY)
    done = core::errno_error("name " + target.string());
  fs::remove_all(temporary, fault);
  return done;
}

core::Status remove_unpacked(const std::string& images_directory, const std::string& digest) {
  std::error_code fault;
  fs::remove_all(directory_of(images_directory, digest), fault);
  if (fault) return core::error(core::ErrorKind::internal, "cannot remove what was unpacked of " + digest + ": " + fault.message());
  return {};
}

}  // namespace bailiff::images
