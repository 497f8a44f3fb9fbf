#include "server/web_pages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/awaitable.hpp>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>

#include "core/fd.h"
#include "server/api.h"
#include "server/http_fields.h"
#include "server/http_router.h"
#include "server/log.h"

namespace bailiff::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDocument = "index.html", kAssets = "assets", kPacked = ".gz";

// Everything that web/build/compress.ts packs, and pictures and fonts.
constexpr auto kTypes = std::to_array<std::pair<std::string_view, std::string_view>>({{".html", "text/html; charset=utf-8"},
                                                                                      {".js", "text/javascript; charset=utf-8"},
                                                                                      {".css", "text/css; charset=utf-8"},
                                                                                      {".svg", "image/svg+xml"},
                                                                                      {".json", "application/json"},
                                                                                      {".txt", "text/plain; charset=utf-8"},
                                                                                      {".png", "image/png"},
                                                                                      {".woff2", "font/woff2"}});

// Scripts, styles, pictures and connections of this origin; nothing inline, nothing evaluated, no frame around it, no form sent anywhere.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// The build puts a hash of a file's content into its name, so what an address of assets/ answers never changes.
constexpr const char* kForever = "public, max-age=31536000, immutable";

std::string_view type_of(std::string_view name) {
  const auto found = std::ranges::find_if(kTypes, [&](const auto& type) { return name.ends_with(type.first); });
  return found == kTypes.end() ? "" : found->second;
}

/// What may stand in a pattern of the router and in an address without being escaped.
bool is_plain(std::string_view name) {
  return !name.empty() && name.front() != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

/// A regular file by its own name, never what a link of that name points to.
core::Result<std::string> read_file(const fs::path& path, std::size_t most_bytes) {
  const core::Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return core::errno_error("cannot open " + path.string());
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return core::errno_error("cannot examine " + path.string());
  if (!S_ISREG(status.st_mode)) return core::error(core::ErrorKind::invalid, path.string() + " is no regular file");
  if (static_cast<std::uintmax_t>(status.st_size) > most_bytes)
    return core::error(core::ErrorKind::invalid, "its files are larger than 16 MiB together");
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  for (std::size_t taken = 0; taken < bytes.size();) {
    const auto count = ::read(file.get(), bytes.data() + taken, bytes.size() - taken);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return core::errno_error("cannot read " + path.string());
    if (count == 0) return core::error(core::ErrorKind::invalid, path.string() + " became shorter while it was read");
    taken += static_cast<std::size_t>(count);
  }
  return bytes;
}

/// Paths below the directory of every file in it and in its assets.
core::Result<std::vector<std::string>> list_files(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (const std::string& folder : {std::string(), std::string(kAssets)}) {
    if (!folder.empty() && fs::symlink_status(directory / folder, failed).type() != fs::file_type::directory) continue;
    for (fs::directory_iterator entry(directory / folder, failed), end; !failed && entry != end; entry.increment(failed)) {
      const auto name = entry->path().filename().string();
      const auto type = entry->symlink_status(failed).type();
      if (folder.empty() && name == kAssets && type == fs::file_type::directory) continue;
      if (type != fs::file_type::regular || !is_plain(name))
        return core::error(core::ErrorKind::invalid, "\"" + name + "\" is not a file of a built page");
      names.push_back(folder.empty() ? name : folder + "/" + name);
      if (names.size() > 2 * WebPages::kMostFiles) return core::error(core::ErrorKind::invalid, "it has too many files");
    }
    if (failed) return core::error(core::ErrorKind::invalid, "cannot read the directory: " + failed.message());
  }
  return names;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Response file_response(const WebFile& file, bool unchanging, const Request& request) {
  const bool packed = !file.gzip.empty() && takes_gzip(request.header("Accept-Encoding").value_or(""));
  Response response{200, file.content_type, {}, packed ? file.gzip : file.bytes, std::nullopt};
  response.headers = {{"ETag", packed ? file.gzip_tag : file.tag},
                      {"Cache-Control", unchanging ? kForever : "no-cache"},
                      {"Content-Security-Policy", kPolicy},
                      {"Referrer-Policy", "no-referrer"},
                      {"X-Frame-Options", "DENY"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  if (!file.gzip.empty()) response.headers.emplace_back("Vary", "Accept-Encoding");
  if (packed) response.headers.emplace_back("Content-Encoding", "gzip");
  return response;
}

}  // namespace

bool takes_gzip(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const auto comma = std::min(accept_encoding.find(','), accept_encoding.size());
    auto item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
    const auto semicolon = std::min(item.find(';'), item.size());
    if (!equals_ignoring_case(trimmed(item.substr(0, semicolon)), "gzip")) continue;
    const auto weight = trimmed(item.substr(std::min(semicolon + 1, item.size())));
    // A quality of zero says never (RFC 9110 section 12.4.2): "0", "0.", "0.000".
    const bool never = weight.size() >= 3 && (weight.starts_with("q=") || weight.starts_with("Q=")) &&
                       weight.substr(2).find_first_not_of("0.") == std::string_view::npos;
    return !never;
  }
  return false;
}

core::Result<WebPages> WebPages::load(const std::string& directory) {
  const auto fault = [&](const std::string& why) { return core::error(core::ErrorKind::invalid, "web: " + directory + ": " + why); };
  const auto names = list_files(directory);
  if (!names) return fault(names.error().what);
  WebPages pages;
  std::size_t left_bytes = kMostBytes;
  for (const auto& name : *names) {
    const bool packed = name.ends_with(kPacked);
    const auto plain_name = packed ? name.substr(0, name.size() - kPacked.size()) : name;
    const auto type = type_of(plain_name);
    if (type.empty()) return fault("\"" + name + "\" is of no type that pages are made of");
    auto bytes = read_file(fs::path(directory) / name, left_bytes);
    if (!bytes) return fault(bytes.error().what);
    left_bytes -= bytes->size();
    auto& file = pages.files_[plain_name];
    file.content_type = type;
    (packed ? file.gzip_tag : file.tag) = entity_tag(*bytes);
    (packed ? file.gzip : file.bytes) = std::move(*bytes);
  }
  for (const auto& [name, file] : pages.files_)
    if (file.tag.empty()) return fault("\"" + name + "\" is there compressed only");
  if (pages.files_.size() > kMostFiles) return fault("it has too many files");
  if (pages.find(kDocument) == nullptr) return fault("there is no index.html in it; `npm run build` in web/ makes one");
  return pages;
}

WebPages WebPages::load_found(const std::string& directory) {
  auto pages = load(directory);
  if (pages) return std::move(*pages);
  log_warn("no web pages are served", {{"why", pages.error().what}});
  return {};
}

const WebFile* WebPages::find(std::string_view path) const {
  const auto found = files_.find(path);
  return found == files_.end() ? nullptr : &found->second;
}

void add_page_routes(Router& router, const WebPages& pages) {
  using boost::asio::awaitable;
  const auto* document = pages.find(kDocument);
  for (const char* address : {"/", "/jobs", "/jobs/{id}", "/system"})
    router.add({.method = "GET",
                .pattern = address,
                .scope = Scope::none,
                .handler = [document](Call call) -> awaitable<Response> { co_return file_response(*document, false, call.request); },
                .media_type = "text/html"});
  for (const auto& [name, file] : pages.files()) {
    if (name.find('/') != std::string::npos || name == kDocument) continue;
    const auto* one = &file;
    router.add({.method = "GET",
                .pattern = "/" + name,
                .scope = Scope::none,
                .handler = [one](Call call) -> awaitable<Response> { co_return file_response(*one, false, call.request); },
                .media_type = file.content_type.substr(0, file.content_type.find(';'))});
  }
  router.add({.method = "GET",
              .pattern = "/assets/{file}",
              .scope = Scope::none,
              .handler = [&pages](Call call) -> awaitable<Response> {
                const auto* file = pages.find(std::string(kAssets) + "/" + call.path_values[0]);
                if (file == nullptr) co_return problem_response(404, "no such file; the pages may have changed: load them again");
                co_return file_response(*file, true, call.request);
              },
              .media_type = "*/*"});
}

}  // namespace bailiff::server
