#include "cli/artifacts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "cli/http_client.h"
#include "cli/render.h"
#include "sandbox/tree.h"

namespace bailiff::cli {
namespace {

using core::Json;

constexpr std::chrono::seconds kLongestDownload{3600};

std::string encoded_path(const std::string& path) {
  std::string encoded;
  for (std::size_t start = 0; start <= path.size();) {
    const auto slash = std::min(path.find('/', start), path.size());
    encoded += "/" + percent_encode(path.substr(start, slash - start));
    start = slash + 1;
  }
  return encoded;
}

Expected<core::Fd> open_below(int directory, const std::string& name) {
  if (::mkdirat(directory, name.c_str(), 0777) != 0 && errno != EEXIST)
    return failure(kExitNoInput, fmt::format("cannot make {}: {}", name, std::strerror(errno)));
  core::Fd made(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.valid()) return failure(kExitNoInput, fmt::format("{} is no directory: {}", name, std::strerror(errno)));
  return made;
}

Expected<ExitCode> save(HttpClient& client, const ArtifactsOptions& options, const std::string& path, int directory) {
  HttpRequest request{.path = "/v1/jobs/" + percent_encode(options.id) + "/artifacts" + encoded_path(path),
                      .at_most = kLongestDownload,
                      .accept = "application/octet-stream"};
  const auto answer = client.exchange(request);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 200) return std::unexpected(failure_of_answer(*answer));
  auto file = make_file_below(directory, path);
  if (!file) return std::unexpected(std::move(file.error()));
  if (auto written = Stream(file->get(), false, false).write(answer->body); !written)
    return failure(kExitNoInput, path + ": " + written.error().what);
  return kExitOk;
}

}  // namespace

Expected<core::Fd> make_file_below(int directory, const std::string& path) {
  if (!sandbox::is_safe_relative_path(path))
    return failure(kExitInternal, "the server names a file that would not be where it belongs: " + path);
  core::Fd parent;
  std::size_t start = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos; start = slash + 1, slash = path.find('/', start)) {
    auto next = open_below(parent.valid() ? parent.get() : directory, path.substr(start, slash - start));
    if (!next) return next;
    parent = std::move(*next);
  }
  core::Fd file(::openat(parent.valid() ? parent.get() : directory, path.c_str() + start,
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!file.valid())
    return failure(kExitNoInput, fmt::format("cannot make {}: {}", path, std::strerror(errno)),
                   errno == EEXIST ? "nothing is overwritten; name another directory" : "");
  return file;
}

Expected<ExitCode> artifacts(const ArtifactsOptions& options, const Console& console) {
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  const auto listed = client->json({.path = "/v1/jobs/" + percent_encode(options.id) + "/artifacts"});
  if (!listed) return std::unexpected(listed.error());
  std::string text;
  core::Fd directory;
  if (!options.directory.empty()) {
    auto opened = open_below(AT_FDCWD, options.directory);
    if (!opened) return std::unexpected(std::move(opened.error()));
    directory = std::move(*opened);
  }
  for (const Json& artifact : listed->value("items", Json::array())) {
    const std::string path = artifact.value("path", "");
    if (directory.valid())
      if (auto saved = save(*client, options, path, directory.get()); !saved) return saved;
    text += fmt::format("{:>10}  {}\n", artifact.value("bytes", std::uint64_t{0}), sanitise_line(path));
  }
  if (options.server.json) text = listed->dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (auto written = console.out.write(text); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  return kExitOk;
}

}  // namespace bailiff::cli
