#include "storage/schema.h"

#include <array>
#include <string>

namespace bailiff::storage {
namespace {

constexpr int kApplicationId = 0x4261696C;  // "Bail": SQLite's header field for the owner of a file

// Rows of `jobs` are small and in the order of their ids, so that the queue and the lists never read a document. Documents and
// outputs are in tables of their own. An output is stored in pieces: a slice of it reads only the pieces that it touches.
constexpr std::array kMigrations = {
    R"sql(
CREATE TABLE jobs (
  id TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'finished')),
  verdict TEXT,
  message TEXT NOT NULL DEFAULT '',
  priority INTEGER NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  created_us INTEGER NOT NULL,
  started_us INTEGER,
  finished_us INTEGER,
  CHECK ((state = 'finished') = (verdict IS NOT NULL)),
  CHECK ((state = 'finished') = (finished_us IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_queued ON jobs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
CREATE INDEX jobs_by_verdict ON jobs (verdict, id) WHERE verdict IS NOT NULL;

CREATE TABLE labels (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_value ON labels (key, value, job_id);

CREATE TABLE requests (
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  document TEXT NOT NULL
) STRICT;

CREATE TABLE results (
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  document TEXT NOT NULL
) STRICT;

CREATE TABLE outputs (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  step INTEGER NOT NULL,
  stream TEXT NOT NULL CHECK (stream IN ('stdout', 'stderr')),
  offset_bytes INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (job_id, step, stream, offset_bytes)
) STRICT;

CREATE TABLE idempotency_keys (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  digest TEXT NOT NULL,
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job_id);
)sql",
    // A job has an owner, and the queue is one for each of them.
    R"sql(
CREATE TABLE access_keys (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  scopes TEXT NOT NULL,
  weight INTEGER NOT NULL,
  max_queued INTEGER NOT NULL,
  max_running INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  revoked_us INTEGER
) STRICT, WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (owner, priority DESC, id) WHERE state = 'queued';
CREATE INDEX jobs_by_owner ON jobs (owner, id) WHERE owner <> '';
)sql",
    // due_us is set from the job's end to the delivery's; the index has no other rows, and all that finding what is due reads.
    R"sql(
CREATE TABLE webhooks (
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  url TEXT NOT NULL,
  secret TEXT NOT NULL,
  origin TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0,
  due_us INTEGER,
  attempted_us INTEGER,
  last_status INTEGER,
  last_error TEXT NOT NULL DEFAULT '',
  CHECK (due_us IS NULL OR state = 'pending')
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_due ON webhooks (due_us, origin) WHERE due_us IS NOT NULL;
)sql",
    // Files in pieces, as outputs are: what clients bring for their jobs, and what jobs leave. What all blobs have together and which of
    // them no job needs is kept as it changes, for either would take longer the more there are.
    R"sql(
CREATE TABLE blobs (
  id INTEGER NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  digest TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  used_us INTEGER NOT NULL,
  whole INTEGER NOT NULL DEFAULT 0,
  needs INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX blobs_by_digest ON blobs (owner, digest) WHERE whole = 1;
CREATE INDEX blobs_unneeded ON blobs (used_us) WHERE needs = 0;
CREATE TABLE blobs_total (bytes INTEGER NOT NULL) STRICT;
INSERT INTO blobs_total VALUES (0);
CREATE TRIGGER blob_came AFTER INSERT ON blobs BEGIN UPDATE blobs_total SET bytes = bytes + NEW.bytes; END;
CREATE TRIGGER blob_went AFTER DELETE ON blobs BEGIN UPDATE blobs_total SET bytes = bytes - OLD.bytes; END;
CREATE TABLE blob_pieces (
  blob_id INTEGER NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
  offset_bytes INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (blob_id, offset_bytes)
) STRICT;
CREATE TABLE job_blobs (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  blob_id INTEGER NOT NULL REFERENCES blobs (id),
  PRIMARY KEY (job_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_blobs_by_blob ON job_blobs (blob_id);
CREATE TRIGGER blob_needed AFTER INSERT ON job_blobs BEGIN UPDATE blobs SET needs = needs + 1 WHERE id = NEW.blob_id; END;
CREATE TRIGGER blob_not_needed AFTER DELETE ON job_blobs BEGIN UPDATE blobs SET needs = needs - 1 WHERE id = OLD.blob_id; END;
CREATE TABLE artifacts (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  offset_bytes INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (job_id, path, offset_bytes)
) STRICT;
)sql",
    // What an owner's jobs and blobs take in all, kept as it changes, and the CPU time of its jobs that ended in the hour `cpu_hour` (of
    // the Unix epoch). Jobs without an owner have no bound, and are not counted.
    R"sql(
ALTER TABLE access_keys ADD COLUMN max_stored_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_keys ADD COLUMN max_cpu_ms_per_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE owner_use (
  owner TEXT NOT NULL PRIMARY KEY,
  stored_bytes INTEGER NOT NULL DEFAULT 0,
  cpu_hour INTEGER NOT NULL DEFAULT 0,
  cpu_us INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
UPDATE jobs SET stored_bytes =
  (SELECT coalesce(sum(octets), 0) FROM
    (SELECT length(CAST(document AS BLOB)) AS octets FROM requests WHERE job_id = jobs.id
     UNION ALL SELECT length(CAST(document AS BLOB)) FROM results WHERE job_id = jobs.id
     UNION ALL SELECT length(bytes) FROM outputs WHERE job_id = jobs.id
     UNION ALL SELECT length(bytes) FROM artifacts WHERE job_id = jobs.id))
  WHERE owner <> '';
INSERT INTO owner_use (owner, stored_bytes)
  SELECT owner, sum(octets) FROM
    (SELECT owner, stored_bytes AS octets FROM jobs WHERE owner <> '' UNION ALL SELECT owner, bytes FROM blobs WHERE owner <> '')
  GROUP BY owner;
CREATE TRIGGER owners_job_came AFTER INSERT ON jobs WHEN NEW.owner <> '' BEGIN
  INSERT INTO owner_use (owner, stored_bytes) VALUES (NEW.owner, NEW.stored_bytes)
    ON CONFLICT (owner) DO UPDATE SET stored_bytes = stored_bytes + excluded.stored_bytes;
END;
CREATE TRIGGER owners_job_grew AFTER UPDATE OF stored_bytes ON jobs WHEN NEW.owner <> '' BEGIN
  UPDATE owner_use SET stored_bytes = stored_bytes + NEW.stored_bytes - OLD.stored_bytes WHERE owner = NEW.owner;
END;
CREATE TRIGGER owners_job_went AFTER DELETE ON jobs WHEN OLD.owner <> '' BEGIN
  UPDATE owner_use SET stored_bytes = stored_bytes - OLD.stored_bytes WHERE owner = OLD.owner;
END;
CREATE TRIGGER owners_blob_came AFTER INSERT ON blobs WHEN NEW.owner <> '' BEGIN
  INSERT INTO owner_use (owner, stored_bytes) VALUES (NEW.owner, NEW.bytes)
    ON CONFLICT (owner) DO UPDATE SET stored_bytes = stored_bytes + excluded.stored_bytes;
END;
CREATE TRIGGER owners_blob_went AFTER DELETE ON blobs WHEN OLD.owner <> '' BEGIN
  UPDATE owner_use SET stored_bytes = stored_bytes - OLD.bytes WHERE owner = OLD.owner;
END;
)sql",
};

std::unexpected<core::Error> refuse(const std::string& path, const std::string& why) {
  return core::error(core::ErrorKind::invalid, path + ": " + why);
}

core::Status check_integrity(Connection& connection, const std::string& path) {
  try {
    const std::string found = connection.database().execAndGet("PRAGMA quick_check(1)").getString();
    if (found != "ok") return refuse(path, "the database is damaged: " + found);
  } catch (const SQLite::Exception& fault) {
    const core::Error error = error_of(fault, path);
    if (error.kind == core::ErrorKind::unavailable) return std::unexpected(error);
    return refuse(path, std::string("the database is damaged: ") + fault.what());
  }
  return {};
}

core::Status check_version(Connection& connection, const std::string& path) {
  SQLite::Database& database = connection.database();
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  const int application = database.execAndGet("PRAGMA application_id").getInt();
  const int tables = database.execAndGet("SELECT count(*) FROM sqlite_schema").getInt();
  if (tables == 0 && version == 0 && application == 0) return {};  // new
  if (application != kApplicationId) return refuse(path, "a database, but not one of Bailiff's");
  if (version > schema_version())
    return refuse(path, "the database has schema " + std::to_string(version) + " and this program knows schemas up to " +
                            std::to_string(schema_version()) + ": it was written by a newer Bailiff, which is needed to open it");
  return {};
}

core::Status set_up(Connection& connection, const std::string& path) {
  SQLite::Database& database = connection.database();
  const std::string journal = database.execAndGet("PRAGMA journal_mode = WAL").getString();
  if (journal != (path == kMemoryPath ? "memory" : "wal")) return refuse(path, "no write-ahead log here (journal_mode is " + journal + ")");
  database.exec("PRAGMA synchronous = FULL");
  database.exec("PRAGMA foreign_keys = ON");
  database.exec("PRAGMA trusted_schema = OFF");
  database.exec("PRAGMA temp_store = MEMORY");
  database.exec("PRAGMA cache_size = -16384");  // 16 MiB
  database.exec("PRAGMA journal_size_limit = 67108864");  // a log that grew behind a long read shrinks to 64 MiB again
  return {};
}

void migrate(Connection& connection) {
  SQLite::Database& database = connection.database();
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  if (version == schema_version()) return;
  SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
  for (int next = version + 1; next <= schema_version(); ++next) database.exec(migration(next));
  database.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.exec("PRAGMA user_version = " + std::to_string(schema_version()));
  transaction.commit();
}

}  // namespace

int schema_version() { return static_cast<int>(kMigrations.size()); }

const char* migration(int version) { return kMigrations.at(static_cast<std::size_t>(version) - 1); }

core::Status check_ours(Connection& connection, const std::string& path) {
  if (auto known = check_version(connection, path); !known) return known;
  if (connection.database().execAndGet("PRAGMA user_version").getInt() == 0) return refuse(path, "an empty database");
  return {};
}

core::Status prepare_database(Connection& connection, const std::string& path) {
  if (auto sound = check_integrity(connection, path); !sound) return sound;
  if (auto known = check_version(connection, path); !known) return known;
  if (auto ready = set_up(connection, path); !ready) return ready;
  migrate(connection);
  return {};
}

}  // namespace bailiff::storage
