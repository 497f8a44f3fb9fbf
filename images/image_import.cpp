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

constexpr std::size_t kMaxVariables = 1024, kMaxVariableBytes = 128 << 10, kMaxArguments = 256, kMaxSettingsBytes = 1 << 20;

/// The worker read a stranger's bytes, so nothing that it says is taken for granted.
core::Result<Imported> understand(const Json& document) {
  try {
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

core::Result<Imported> import_image(const ImageStore& store, const ImportWorker& worker, const ImportRequest& request, int input) {
  const auto deadline = Clock::now() + request.at_most;
  if (!is_image_name(request.name))
    return core::error(
        core::ErrorKind::invalid,
        fmt::format("\"{}\" is no name for an image: a-z 0-9 . _ + -, at most 64, not \"host\" or \"sha256…\"", request.name));
  auto draft = store.draft();
  if (!draft) return std::unexpected(std::move(draft.error()));
  auto text = worker.run({}, {{input, STDIN_FILENO}, {draft->spool(), kSpoolFd}, {draft->content(), kImageFd}}, deadline);
  if (!text) return std::unexpected(std::move(text.error()));
  auto imported = understand(*text);
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
