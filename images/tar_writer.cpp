#include "images/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>

namespace bailiff::images {
namespace {

la_ssize_t append(archive*, void* into, const void* bytes, std::size_t size) {
  static_cast<std::string*>(into)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

}  // namespace

TarWriter::TarWriter() : writer_(archive_write_new()) {
  if (writer_ == nullptr) return;
  archive_write_set_format_gnutar(writer_);  // names as they are: pax would have them translated by this process's locale
  archive_write_add_filter_none(writer_);
  archive_write_set_bytes_per_block(writer_, 0);  // hand on what is there
  archive_write_open(writer_, &made_, nullptr, append, nullptr);
}

TarWriter::~TarWriter() {
  if (writer_ != nullptr) archive_write_free(writer_);
}

core::Status TarWriter::check(int result, const char* doing) {
  if (writer_ != nullptr && result >= ARCHIVE_WARN) return {};
  const char* why = writer_ == nullptr ? "no memory" : archive_error_string(writer_);
  return core::error(core::ErrorKind::internal, std::string("tar: cannot ") + doing + ": " + (why == nullptr ? "unknown" : why));
}

core::Status TarWriter::begin_file(const std::string& path, std::uint64_t bytes, std::int64_t mtime_s) {
  if (writer_ == nullptr) return check(ARCHIVE_FATAL, "begin");
  archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, path.c_str());
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_size(entry, static_cast<la_int64_t>(bytes));
  archive_entry_set_mtime(entry, mtime_s, 0);
  const int result = archive_write_header(writer_, entry);
  archive_entry_free(entry);
  return check(result, "begin a file");
}

core::Status TarWriter::add(std::string_view bytes) {
  if (writer_ == nullptr || archive_write_data(writer_, bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
    return check(ARCHIVE_FATAL, "add bytes");
  return {};
}

core::Status TarWriter::end() { return check(writer_ == nullptr ? ARCHIVE_FATAL : archive_write_close(writer_), "end"); }

}  // namespace bailiff::images
