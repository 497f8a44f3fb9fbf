#include "sandbox/collect.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>

#include "sandbox/glob.h"
#include "sandbox/socket.h"
#include "sandbox/tree.h"

namespace bailiff::sandbox {
namespace {

constexpr std::chrono::seconds kCollectTime(30);
constexpr std::size_t kMaxEntries = 200'000;
constexpr std::size_t kMaxPathBytes = 32 << 20;  // of all that is looked at: long paths are no way around the limit on content
constexpr int kComplete = 0, kTruncated = 1;

class Collector {
 public:
  Collector(int root, const std::vector<std::string>& globs, std::uint64_t max_bytes, core::Fd out)
      : root_(root), globs_(globs), left_(max_bytes), writer_(std::move(out)) {}

  /// The exit code.
  int run() {
    std::vector<std::string> directories = {""};
    while (!directories.empty()) {
      const std::string directory = std::move(directories.back());
      directories.pop_back();
      walk(directory, directories);
    }
    if (!writer_.flush_to_file()) truncated_ = true;
    return truncated_ ? kTruncated : kComplete;
  }

 private:
  core::Fd open_inside(const std::string& path, std::uint64_t flags) const {
    open_how how{};
    how.flags = flags | O_CLOEXEC | O_NOFOLLOW | ((flags & O_PATH) != 0 ? 0 : O_NONBLOCK | O_NOCTTY);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    return core::Fd(static_cast<int>(syscall(SYS_openat2, root_, path.empty() ? "." : path.c_str(), &how, sizeof how)));
  }

  void walk(const std::string& directory, std::vector<std::string>& directories) {
    core::Fd fd = open_inside(directory, O_RDONLY | O_DIRECTORY);
    const auto close_stream = [](DIR* open_stream) { closedir(open_stream); };
    const std::unique_ptr<DIR, decltype(close_stream)> stream(fd.valid() ? fdopendir(fd.get()) : nullptr, close_stream);
    if (!stream) {
      truncated_ = true;
      return;
    }
    (void)fd.release();
    std::vector<std::string> names;
    while (const dirent* entry = readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      if (++entries_ > kMaxEntries) {
        truncated_ = true;
        return;
      }
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) visit(directory.empty() ? name : directory + "/" + name, directories);
  }

  void visit(const std::string& path, std::vector<std::string>& directories) {
    path_bytes_ += path.size();
    struct stat info{};
    const core::Fd entry = is_safe_relative_path(path) && path_bytes_ <= kMaxPathBytes ? open_inside(path, O_PATH) : core::Fd();
    if (!entry.valid() || fstat(entry.get(), &info) != 0) {
      truncated_ = true;
      return;
    }
    if (S_ISDIR(info.st_mode)) directories.push_back(path);
    const bool wanted = std::any_of(globs_.begin(), globs_.end(), [&](const std::string& glob) { return glob_matches(glob, path); });
    if (!wanted) return;
    if (S_ISDIR(info.st_mode)) add({EntryKind::directory, info.st_mode & 0777, path, ""});
    if (S_ISREG(info.st_mode)) add_file(path);
    if (S_ISLNK(info.st_mode)) add_symlink(path, entry);
  }

  void add(const TreeEntry& entry) {
    if (!writer_.add(entry)) truncated_ = true;
  }

  void add_symlink(const std::string& path, const core::Fd& link) {
    char target[4096];
    const ssize_t n = readlinkat(link.get(), "", target, sizeof target);
    if (n > 0) add({EntryKind::symlink, 0777, path, std::string_view(target, static_cast<std::size_t>(n))});
  }

  void add_file(const std::string& path) {
    const core::Fd file = open_inside(path, O_RDONLY);
    struct stat info{};
    // It may have been swapped since it was looked at; only what is open now counts.
    if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) > left_) {
      truncated_ = true;
      return;
    }
    // Read, not mapped: a page of a hole that is mapped takes room, and where there is none left in the workspace that is a SIGBUS.
    const auto data = read_all(file.get());
    if (!data || data->size() > left_) {
      truncated_ = true;
      return;
    }
    left_ -= data->size();
    add({EntryKind::file, info.st_mode & 0777, path, *data});
  }

  int root_;
  const std::vector<std::string>& globs_;
  std::uint64_t left_;
  std::size_t entries_ = 0, path_bytes_ = 0;
  TreeWriter writer_;
  bool truncated_ = false;
};

[[noreturn]] void collector_process(int directory, const std::vector<std::string>& globs, std::uint64_t max_bytes, std::uint32_t owner,
                                    core::Fd out) {
  const core::Fd root(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool confined = root.valid() && setgroups(0, nullptr) == 0 && setresgid(owner, owner, owner) == 0 &&
                        setresuid(owner, owner, owner) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && setuid(0) != 0;
  if (!confined) _exit(70);
  _exit(Collector(root.get(), globs, max_bytes, std::move(out)).run());
}

}  // namespace

core::Result<Collected> collect(int directory, const std::vector<std::string>& globs, std::uint64_t max_bytes, std::uint32_t owner) {
  auto out = output_memfd();
  if (!out) return std::unexpected(out.error());
  core::Fd copy(fcntl(out->get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return core::errno_error("dup");
  const pid_t child = fork();
  if (child < 0) return core::errno_error("fork");
  if (child == 0) collector_process(directory, globs, max_bytes, owner, std::move(copy));
  copy.reset();
  const core::Fd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  const bool in_time = process.valid() && wait_readable(process.get(), kCollectTime);
  if (!in_time) (void)kill(child, SIGKILL);
  int status = 0;
  if (waitpid(child, &status, 0) != child) return core::errno_error("wait for the collector");
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code != kComplete && code != kTruncated) return core::error(core::ErrorKind::internal, "the collector failed");
  if (auto sealed = seal_memfd(out->get()); !sealed) return std::unexpected(sealed.error());
  return Collected{std::move(*out), code == kTruncated};
}

}  // namespace bailiff::sandbox
