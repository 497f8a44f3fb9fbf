#pragma once
// One SQLite connection with its prepared statements, and what SQLite's faults are in our words.
// SQLite::Exception leaves these functions; whoever owns the connection catches it once (Writer, ReaderPool, Store::open).
#include <SQLiteCpp/SQLiteCpp.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace bailiff::storage {

inline constexpr const char* kMemoryPath = ":memory:";

/// The kind by SQLite's result code, the text with the database's path.
[[nodiscard]] core::Error error_of(const SQLite::Exception& fault, const std::string& path);

/// A cached statement in use. Reset at its end, so that no read snapshot outlives its use.
class Query {
 public:
  explicit Query(SQLite::Statement& statement) : statement_(&statement) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() { statement_->tryReset(); }
  SQLite::Statement* operator->() { return statement_; }

 private:
  SQLite::Statement* statement_;
};

/// One thread at a time.
class Connection {
 public:
  enum class Mode { read_write, read_only };
  Connection(const std::string& path, Mode mode, int busy_timeout_ms);

  /// The statement of this text, prepared at its first use. Texts must be few: constants, or made from few parts.
  [[nodiscard]] Query query(std::string_view sql);
  /// Runs a statement that gives no rows and has no parameters.
  void run(std::string_view sql) { (void)query(sql)->exec(); }
  [[nodiscard]] SQLite::Database& database() { return database_; }
  /// False once SQLite has rolled the transaction back by itself, as some faults make it do.
  [[nodiscard]] bool in_transaction() const;

 private:
  SQLite::Database database_;
  std::map<std::string, std::unique_ptr<SQLite::Statement>, std::less<>> statements_;
};

}  // namespace bailiff::storage
