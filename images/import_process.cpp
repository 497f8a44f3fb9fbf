// Starting a worker and hearing it out.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "images/image_import.h"
#include "images/import_worker.h"

namespace bailiff::images {
namespace {

using core::Json;
using Clock = std::chrono::steady_clock;

/// Above the worker's own descriptors, so that no dup2 overwrites what another one needs.
core::Result<core::Fd> high_copy(int fd) {
  core::Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, kImageFd + 1));
  if (!copy.valid()) return core::errno_error("copy a descriptor");
  return copy;
}

/// A child that is killed and reaped if it was not waited for.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    (void)::kill(pid_, SIGKILL);
    (void)wait();
  }
  /// Its wait status; at the deadline it is killed first.
  int wait_until(Clock::time_point deadline) {
    const core::Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{handle.get(), POLLIN, 0};
    if (!handle.valid() || ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000))) != 1)
      (void)::kill(pid_, SIGKILL);
    return wait();
  }
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

core::Result<pid_t> start(int worker, std::vector<std::string> words, const std::vector<std::pair<int, int>>& given) {
  std::vector<core::Fd> copies;
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return core::errno_error("start the importer");
  for (const auto& [fd, target] : given) {
    auto copy = high_copy(fd);
    if (!copy) return std::unexpected(std::move(copy.error()));
    (void)::posix_spawn_file_actions_adddup2(&actions, copy->get(), target);
    copies.push_back(std::move(*copy));
  }
  auto program = high_copy(worker);
  if (!program) return std::unexpected(std::move(program.error()));
  const std::string path = fmt::format("/proc/self/fd/{}", program->get());
  words.insert(words.begin(), "bailiff-import");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const envp[] = {nullptr};
  pid_t pid = -1;
  errno = ::posix_spawn(&pid, path.c_str(), &actions, nullptr, argv.data(), envp);
  const bool started = errno == 0;
  auto failed = core::errno_error("start the importer");
  (void)::posix_spawn_file_actions_destroy(&actions);
  if (!started) return failed;
  return pid;
}

core::Result<std::string> read_answer(int fd, Clock::time_point deadline) {
  std::string text;
  std::vector<char> piece(64 << 10);
  while (true) {
    pollfd entry{fd, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return core::error(core::ErrorKind::unavailable, "the import took too long");
    if (::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000'000))) <= 0) continue;
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return core::errno_error("read what the importer says");
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxWorkerAnswerBytes) return core::error(core::ErrorKind::invalid, "the importer says too much");
  }
}

}  // namespace

core::Result<ImportWorker> ImportWorker::find() {
  std::string path(4096, '\0');
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  path = path.substr(0, path.rfind('/') + 1) + "bailiff-import";
  core::Fd program(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!program.valid()) return core::errno_error("cannot open " + path);
  return ImportWorker(std::move(program));
}

core::Result<Json> ImportWorker::run(const std::vector<std::string>& words, std::vector<std::pair<int, int>> given,
                                     Clock::time_point deadline) const {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return core::errno_error("pipe");
  const core::Fd answer(ends[0]);
  core::Fd theirs(ends[1]);
  given.emplace_back(theirs.get(), STDOUT_FILENO);
  auto pid = start(program_.get(), words, given);
  if (!pid) return std::unexpected(std::move(pid.error()));
  Child child(*pid);
  theirs.reset();
  auto text = read_answer(answer.get(), deadline);
  if (!text) return std::unexpected(std::move(text.error()));
  const int status = child.wait_until(deadline);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return core::error(core::ErrorKind::invalid,
                       fmt::format("reading the archive ended the importer (wait status {}): it is too large or damaged", status));
  Json document = Json::parse(*text, nullptr, false);
  if (!document.is_object()) return core::error(core::ErrorKind::internal, "the importer says nothing sensible");
  if (!document.contains("error")) return document;
  const Json kind = document.value("kind", Json()), why = document["error"];
  if (!kind.is_number_unsigned() || !why.is_string()) return core::error(core::ErrorKind::internal, "the importer says nothing sensible");
  const auto known = std::min<std::uint64_t>(kind.get<std::uint64_t>(), static_cast<std::uint64_t>(core::ErrorKind::unavailable));
  return core::error(static_cast<core::ErrorKind>(known), why.get<std::string>());
}

}  // namespace bailiff::images
