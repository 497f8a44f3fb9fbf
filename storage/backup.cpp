#include "storage/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <SQLiteCpp/Backup.h>
#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <cerrno>

#include "core/fd.h"
#include "storage/as_owner.h"
#include "storage/connection.h"
#include "storage/schema.h"

namespace bailiff::storage {
namespace {

constexpr int kPagesAStep = 1024;
constexpr int kBusyTimeoutMs = 5000;

/// Removes the copy unless it is kept.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_(std::move(path)) {}
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

core::Status copy_pages(const Backup& backup, SQLite::Database& copy) {
  const AsOwner reader(backup.reader_uid.value_or(::geteuid()), backup.reader_gid.value_or(::getegid()));
  if (reader.failed() != 0)
    return std::unexpected(core::Error{core::ErrorKind::internal, "cannot become the owner of " + backup.database, reader.failed()});
  Connection source(backup.database, Connection::Mode::read_only, kBusyTimeoutMs);
  if (auto ours = check_ours(source, backup.database); !ours) return ours;
  source.run("BEGIN");  // pins what is copied: without it each write of the server's would begin the copy anew
  source.database().execAndGet("SELECT count(*) FROM jobs");
  const auto page_bytes = static_cast<std::uint64_t>(source.database().execAndGet("PRAGMA page_size").getInt64());
  SQLite::Backup pages(copy, source.database());
  while (pages.executeStep(kPagesAStep) != SQLITE_DONE) {
    const auto all = static_cast<std::uint64_t>(pages.getTotalPageCount()),
               left = static_cast<std::uint64_t>(pages.getRemainingPageCount());
    if (backup.progress) backup.progress((all - left) * page_bytes, all * page_bytes);
  }
  return {};
}

core::Status check_copy(const std::string& path) {
  SQLite::Database copy("file:" + path + "?immutable=1", SQLite::OPEN_READONLY | SQLite::OPEN_URI);
  const std::string found = copy.execAndGet("PRAGMA quick_check(1)").getString();
  if (found != "ok") return core::error(core::ErrorKind::internal, path + ": the copy is damaged: " + found);
  return {};
}

}  // namespace

core::Result<std::uint64_t> back_up(const Backup& backup) {
  const core::Fd file(::open(backup.copy.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid() && errno == EEXIST) return core::error(core::ErrorKind::conflict, backup.copy + " exists already");
  if (!file.valid()) return core::errno_error("make " + backup.copy);
  Unfinished unfinished(backup.copy);
  try {
    {
      SQLite::Database copy(backup.copy, SQLite::OPEN_READWRITE);
      copy.exec("PRAGMA journal_mode = OFF");  // what breaks off is deleted, so nothing needs to be undone
      copy.exec("PRAGMA synchronous = OFF");   // once, at the end
      if (auto copied = copy_pages(backup, copy); !copied) return std::unexpected(copied.error());
    }
    if (::fsync(file.get()) != 0) return core::errno_error("write " + backup.copy);
    if (auto whole = check_copy(backup.copy); !whole) return std::unexpected(whole.error());
  } catch (const SQLite::Exception& fault) {
    return std::unexpected(error_of(fault, backup.database));
  }
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return core::errno_error("look at " + backup.copy);
  unfinished.keep();
  return static_cast<std::uint64_t>(info.st_size);
}

}  // namespace bailiff::storage
