#pragma once
// The web pages: what `npm run build` made of web/, read once at the start and served from memory. No request names a file, so none can
// reach beyond them, and nothing is read from disk once the server runs.
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::server {

class Router;

/// One file as it is sent.
struct WebFile {
  std::string content_type;
  std::string bytes;
  std::string tag;      // ETag of `bytes`
  std::string gzip;     // the same compressed; empty where the build has none
  std::string gzip_tag;
};

class WebPages {
 public:
  static constexpr std::size_t kMostFiles = 512;
  static constexpr std::size_t kMostBytes = 16U << 20;  // of all files together

  /// No pages: "/" is then the API's short word about itself.
  WebPages() = default;
  /// `directory` must hold index.html, and besides it regular files of known types with plain names, in it or in its "assets". What else is
  /// in it is an error, and so is more than the bounds above.
  static core::Result<WebPages> load(const std::string& directory);
  /// The same of a directory that nobody named: one that is odd is told in the log, and the server does without pages.
  static WebPages load_found(const std::string& directory);

  [[nodiscard]] bool empty() const { return files_.empty(); }
  /// By its path below the directory: "index.html", "assets/index-3f2a.js". nullptr: there is none.
  [[nodiscard]] const WebFile* find(std::string_view path) const;
  [[nodiscard]] const std::map<std::string, WebFile, std::less<>>& files() const { return files_; }

 private:
  std::map<std::string, WebFile, std::less<>> files_;
};

/// The routes of the pages and their files. `pages` must not be empty and must outlive the router.
void add_page_routes(Router& router, const WebPages& pages);

/// Whether Accept-Encoding (RFC 9110 section 12.5.3) allows gzip by name.
[[nodiscard]] bool takes_gzip(std::string_view accept_encoding);

}  // namespace bailiff::server
