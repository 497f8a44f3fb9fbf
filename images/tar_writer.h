#pragma once
// Makes a tar archive (as GNU tar does) of files, as a stream: what is made so far can be taken at any time.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.h"

struct archive;

namespace bailiff::images {

class TarWriter {
 public:
  TarWriter();
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;
  ~TarWriter();
  /// A file begins; `bytes` of it follow by add(). `mtime_s`: Unix seconds.
  core::Status begin_file(const std::string& path, std::uint64_t bytes, std::int64_t mtime_s);
  core::Status add(std::string_view bytes);
  /// The end of the archive.
  core::Status end();
  /// What was made since the last time.
  [[nodiscard]] std::string take() { return std::exchange(made_, {}); }

 private:
  core::Status check(int result, const char* doing);
  archive* writer_;
  std::string made_;
};

}  // namespace bailiff::images
