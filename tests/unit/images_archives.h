#pragma once
// Archives for tests, written by libarchive, and a store to import them into.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "core/fd.h"
#include "core/json/json.h"
#include "images/file_range.h"
#include "images/import_worker.h"
#include "images/sha256.h"

namespace bailiff::images::testing {

/// One tar archive in memory; in the filter "zip", a zip file.
class Tar {
 public:
  explicit Tar(const std::string& filter = "none") : writer_(archive_write_new()) {
    if (filter == "zip") archive_write_set_format_zip(writer_);
    else archive_write_set_format_pax_restricted(writer_);
    archive_write_set_bytes_in_last_block(writer_, 1);
    if (filter != "none" && filter != "zip") archive_write_add_filter_by_name(writer_, filter.c_str());
    archive_write_open(
        writer_, &bytes_, nullptr,
        [](archive*, void* bytes, const void* piece, std::size_t size) -> la_ssize_t {
          static_cast<std::string*>(bytes)->append(static_cast<const char*>(piece), size);
          return static_cast<la_ssize_t>(size);
        },
        nullptr);
  }
  Tar(const Tar&) = delete;
  Tar& operator=(const Tar&) = delete;
  ~Tar() { archive_write_free(writer_); }

  Tar& file(const std::string& path, const std::string& text = "", int mode = 0644) { return entry(path, AE_IFREG, mode, text); }
  Tar& directory(const std::string& path) { return entry(path, AE_IFDIR, 0755); }
  Tar& other(const std::string& path, unsigned type) { return entry(path, type, 0644); }
  Tar& symlink(const std::string& path, const std::string& target) {
    return entry(path, AE_IFLNK, 0777, "", [&](archive_entry* e) { archive_entry_set_symlink(e, target.c_str()); });
  }
  Tar& hard_link(const std::string& path, const std::string& target) {
    return entry(path, AE_IFREG, 0644, "", [&](archive_entry* e) { archive_entry_set_hardlink(e, target.c_str()); });
  }
  std::string finish() {
    archive_write_close(writer_);
    return bytes_;
  }

 private:
  Tar& entry(const std::string& path, unsigned type, int mode, const std::string& text = "",
             const std::function<void(archive_entry*)>& more = {}) {
    archive_entry* e = archive_entry_new();
    archive_entry_set_pathname(e, path.c_str());
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, static_cast<mode_t>(mode));
    archive_entry_set_mtime(e, 1'700'000'000, 0);
    archive_entry_set_size(e, static_cast<la_int64_t>(text.size()));
    if (more) more(e);
    archive_write_header(writer_, e);
    if (!text.empty()) archive_write_data(writer_, text.data(), text.size());
    archive_entry_free(e);
    return *this;
  }

  std::string bytes_;
  archive* writer_;
};

inline core::Fd memory_file(const std::string& bytes = "") {
  core::Fd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_TRUE(write_at(fd.get(), bytes, 0));
  return fd;
}

/// Imports without a store: what the worker says, and the image's digest.
struct Ran {
  core::Json answer;
  std::string digest;
  core::Fd image;
  [[nodiscard]] std::string error() const { return answer.value("error", ""); }
};
inline Ran import_bytes(const std::string& archive, const ImportBounds& bounds = {}) {
  const core::Fd input = memory_file(archive), spool = memory_file();
  Ran ran;
  ran.image = memory_file();
  ran.answer = core::Json::parse(import_document(input.get(), spool.get(), ran.image.get(), bounds));
  if (ran.answer.contains("bytes")) ran.digest = sha256_of_range(ran.image.get(), 0, ran.answer["bytes"].get<std::uint64_t>()).value_or("");
  return ran;
}

inline std::string sha256(const std::string& bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish().value_or("");
}

}  // namespace bailiff::images::testing
