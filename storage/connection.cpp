#include "storage/connection.h"

#include <sqlite3.h>

namespace bailiff::storage {
namespace {

int open_flags(const std::string& path, Connection::Mode mode) {
  if (mode == Connection::Mode::read_only) return SQLite::OPEN_READONLY | SQLite::OPEN_NOMUTEX;
  const int create = path == kMemoryPath ? SQLite::OPEN_CREATE : 0;  // a file is made before, with its own access mode
  return SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX | create;
}

core::ErrorKind kind_of(int result_code) {
  switch (result_code & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM: return core::ErrorKind::unavailable;
    case SQLITE_CONSTRAINT: return core::ErrorKind::conflict;
    case SQLITE_TOOBIG: return core::ErrorKind::invalid;
    default: return core::ErrorKind::internal;
  }
}

}  // namespace

core::Error error_of(const SQLite::Exception& fault, const std::string& path) {
  return {kind_of(fault.getErrorCode()), path + ": " + fault.what(), 0};
}

Connection::Connection(const std::string& path, Mode mode, int busy_timeout_ms)
    : database_(path, open_flags(path, mode), busy_timeout_ms) {}

Query Connection::query(std::string_view sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    std::string text(sql);
    auto statement = std::make_unique<SQLite::Statement>(database_, text);
    found = statements_.emplace(std::move(text), std::move(statement)).first;
  }
  return Query(*found->second);
}

bool Connection::in_transaction() const { return sqlite3_get_autocommit(database_.getHandle()) == 0; }

}  // namespace bailiff::storage
