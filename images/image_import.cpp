#include "images/image_import.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/json/json.h"
#include "images/file_tree.h"
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
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

core::Result<pid_t> start(const ImportWorker& worker, int input, int answer, const ImageStore::Draft& draft) {
  const std::pair<int, int> given[] = {
      {input, STDIN_FILENO}, {answer, STDOUT_FILENO}, {draft.spool(), kSpoolFd}, {draft.content(), kImageFd}};
  std::vector<core::Fd> copies;
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return core::errno_error("start the importer");
  for (const auto& [fd, target] : given) {
    auto copy = high_copy(fd);
    if (!copy) return std::unexpected(std::move(copy.error()));
    (void)::posix_spawn_file_actions_adddup2(&actions, copy->get(), target);
    copies.push_back(std::move(*copy));
  }
  auto program = high_copy(worker.fd());
  if (!program) return std::unexpected(std::move(program.error()));
  const std::string path = fmt::format("/proc/self/fd/{}", program->get());
  char* const argv[] = {const_cast<char*>("bailiff-import"), nullptr};
  char* const envp[] = {nullptr};
  pid_t pid = -1;
  errno = ::posix_spawn(&pid, path.c_str(), &actions, nullptr, argv, envp);
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

constexpr std::size_t kMaxVariables = 1024, kMaxVariableBytes = 128 << 10, kMaxArguments = 256, kMaxSettingsBytes = 1 << 20;

/// The worker read a stranger's bytes, so nothing that it says is taken for granted.
core::Result<Imported> understand(const std::string& text, int status) {
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return core::error(core::ErrorKind::invalid,
                       fmt::format("reading the archive ended the importer (wait status {}): it is too large or damaged", status));
  const Json document = Json::parse(text, nullptr, false);
  try {
    if (document.contains("error")) {
      const auto kind = std::min<unsigned>(document.at("kind").get<unsigned>(), static_cast<unsigned>(core::ErrorKind::unavailable));
      return core::error(static_cast<core::ErrorKind>(kind), document.at("error").get<std::string>());
    }
    Imported imported;
    imported.image.env = document.at("env").get<std::map<std::string, std::string>>();
    imported.image.workdir = document.at("workdir").get<std::string>();
    imported.image.entrypoint = document.at("entrypoint").get<std::vector<std::string>>();
    imported.image.source = document.at("source").get<std::string>();
    imported.notes = document.at("notes").get<std::vector<std::string>>();
    if (auto sane = check_settings(imported.image); !sane) return std::unexpected(std::move(sane.error()));
    return imported;
  } catch (const Json::exception&) {
    return core::error(core::ErrorKind::internal, "the importer says nothing sensible");
  }
}

}  // namespace

core::Status check_settings(const StoredImage& image) {
  const auto refused = [](const char* what) { return core::error(core::ErrorKind::invalid, what); };
  std::size_t bytes = image.workdir.size();
  if (image.env.size() > kMaxVariables) return refused("its environment has too many variables");
  for (const auto& [name, value] : image.env) {
    if (name.empty() || name.contains('=') || name.contains('\0') || value.contains('\0'))
      return refused("its environment has something other than NAME=value");
    if (name.size() + value.size() > kMaxVariableBytes) return refused("a variable of its environment is too large");
    bytes += name.size() + value.size();
  }
  if (image.workdir.contains('\0') || image.workdir.size() > kMaxPathBytes || (!image.workdir.empty() && !image.workdir.starts_with('/')))
    return refused("its WorkingDir is no absolute path");
  if (image.entrypoint.size() > kMaxArguments) return refused("its Entrypoint has too many words");
  for (const std::string& word : image.entrypoint) {
    if (word.contains('\0')) return refused("its Entrypoint has a NUL byte");
    bytes += word.size();
  }
  if (bytes > kMaxSettingsBytes) return refused("its environment and Entrypoint are too large");
  return {};
}

core::Result<ImportWorker> ImportWorker::find() {
  std::string path(4096, '\0');
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  path = path.substr(0, path.rfind('/') + 1) + "bailiff-import";
  core::Fd program(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!program.valid()) return core::errno_error("cannot open " + path);
  return ImportWorker(std::move(program));
}

core::Result<Imported> import_image(const ImageStore& store, const ImportWorker& worker, const ImportRequest& request, int input) {
  const auto deadline = Clock::now() + request.at_most;
  if (!is_image_name(request.name))
    return core::error(
        core::ErrorKind::invalid,
        fmt::format("\"{}\" is no name for an image: a-z 0-9 . _ + -, at most 64, not \"host\" or \"sha256…\"", request.name));
  auto draft = store.draft();
  if (!draft) return std::unexpected(std::move(draft.error()));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return core::errno_error("pipe");
  const core::Fd answer(ends[0]);
  core::Fd theirs(ends[1]);
  auto pid = start(worker, input, theirs.get(), *draft);
  if (!pid) return std::unexpected(std::move(pid.error()));
  Child child(*pid);
  theirs.reset();
  auto text = read_answer(answer.get(), deadline);
  if (!text) return std::unexpected(std::move(text.error()));
  auto imported = understand(*text, child.wait());
  if (!imported) return imported;
  imported->image.name = request.name;
  if (!request.source.empty()) imported->image.source = request.source;
  for (const auto& [name, value] : request.env) imported->image.env[name] = value;
  auto stored = draft->commit(std::move(imported->image), request.before_named);
  if (!stored) return std::unexpected(std::move(stored.error()));
  imported->image = std::move(*stored);
  return imported;
}

}  // namespace bailiff::images
