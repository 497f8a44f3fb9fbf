#include "storage/job_reader.h"

#include <algorithm>

#include "storage/job_tables.h"

namespace bailiff::storage {
namespace {

constexpr const char* kAfterEveryId = "\xF4\x8F\xBF\xBF";  // the last code point sorts behind any id

std::optional<std::int64_t> optional_int64(const SQLite::Column& column) {
  return column.isNull() ? std::nullopt : std::optional(column.getInt64());
}

// The ids that a list shows, newest first. Each filter that stands alone walks an index in the order of the ids (those of the queued
// and of the running jobs are small enough to sort). States are enumerators, never text of a client: they may be part of the statement.
std::string list_statement(const ListQuery& query) {
  const bool by_label = !query.labels.empty();
  const std::string id = by_label ? "labels.job_id" : "jobs.id";
  std::string sql = "SELECT " + id + " FROM ";
  if (by_label) {
    sql += "labels CROSS JOIN jobs ON jobs.id = labels.job_id";
  } else {
    sql += "jobs";
    if (query.state == core::JobState::queued) sql += " INDEXED BY jobs_queued";
    else if (query.state == core::JobState::running) sql += " INDEXED BY jobs_running";
    else if (query.owner) sql += " INDEXED BY jobs_by_owner";
  }
  sql += " WHERE " + id + " < ?";
  if (query.state) sql += " AND jobs.state = '" + std::string(core::name(*query.state)) + "'";
  if (query.verdict) sql += " AND jobs.verdict = ?";
  if (query.owner) sql += " AND jobs.owner = ? AND jobs.owner <> ''";  // the second is what makes jobs_by_owner fit
  if (by_label) sql += " AND labels.key = ? AND labels.value = ?";
  for (std::size_t i = 1; i < query.labels.size(); ++i)
    sql += " AND EXISTS (SELECT 1 FROM labels AS other WHERE other.job_id = jobs.id AND other.key = ? AND other.value = ?)";
  return sql + " ORDER BY " + id + " DESC LIMIT ?";
}

std::vector<std::string> list_ids(Connection& connection, const ListQuery& query) {
  Query ids = connection.query(list_statement(query));
  int parameter = 0;
  ids->bind(++parameter, query.before_id ? *query.before_id : std::string(kAfterEveryId));
  if (query.verdict) ids->bind(++parameter, std::string(core::name(*query.verdict)));
  if (query.owner) ids->bind(++parameter, *query.owner);
  for (const auto& [key, value] : query.labels) {
    ids->bind(++parameter, key);
    ids->bind(++parameter, value);
  }
  ids->bind(++parameter, std::max(query.limit, 0));
  std::vector<std::string> found;
  while (ids->executeStep()) found.push_back(ids->getColumn(0).getString());
  return found;
}

/// A part of what is stored in pieces: `pieces` is "TABLE WHERE …", whose parameters `bind` binds and counts.
template <class Bind>
core::Result<Store::Slice> slice_of(Connection& connection, const std::string& pieces, Bind bind, std::uint64_t offset,
                                    std::uint64_t length) {
  Store::Slice slice;
  {
    Query last = connection.query("SELECT offset_bytes + length(bytes) FROM " + pieces + " ORDER BY offset_bytes DESC LIMIT 1");
    bind(last);
    if (!last->executeStep()) return core::error(core::ErrorKind::not_found, "nothing is stored here");
    slice.total_bytes = static_cast<std::uint64_t>(last->getColumn(0).getInt64());
  }
  if (offset >= slice.total_bytes || length == 0) return slice;
  const std::uint64_t end = offset + std::min(length, slice.total_bytes - offset);
  slice.bytes.reserve(end - offset);
  Query part =
      connection.query("SELECT offset_bytes, bytes FROM " + pieces + " AND offset_bytes >= ? AND offset_bytes < ? ORDER BY offset_bytes");
  const int bound = bind(part);
  part->bind(bound + 1, static_cast<std::int64_t>(offset / kPieceBytes * kPieceBytes));
  part->bind(bound + 2, static_cast<std::int64_t>(end));
  while (part->executeStep()) {
    const auto start = static_cast<std::uint64_t>(part->getColumn(0).getInt64());
    const SQLite::Column bytes = part->getColumn(1);
    const std::string_view piece(static_cast<const char*>(bytes.getBlob()), static_cast<std::size_t>(bytes.getBytes()));
    const std::uint64_t skip = offset > start ? offset - start : 0;
    slice.bytes += piece.substr(skip, end - start - skip);
  }
  return slice;
}

}  // namespace

void JobReader::read_labels(StoredJob& job) {
  Query labels = connection_.query("SELECT key, value FROM labels WHERE job_id = ?");
  labels->bindNoCopy(1, job.id);
  while (labels->executeStep()) job.labels.emplace(labels->getColumn(0).getString(), labels->getColumn(1).getString());
}

// Hops from owner to owner and from priority to priority along the index of the queue, and looks at the first id of each: a few seeks,
// however long the queue is.
core::Result<std::optional<std::int64_t>> JobReader::oldest_queued_us() {
  Query oldest = connection_.query(
      "WITH RECURSIVE hop (owner) AS ("
      "  SELECT min(owner) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued'"
      "  UNION ALL"
      "  SELECT (SELECT min(owner) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND owner > hop.owner)"
      "  FROM hop WHERE hop.owner IS NOT NULL"
      "), level (owner, priority) AS ("
      "  SELECT owner, (SELECT max(priority) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND owner = hop.owner)"
      "  FROM hop WHERE owner IS NOT NULL"
      "  UNION ALL"
      "  SELECT owner, (SELECT max(priority) FROM jobs INDEXED BY jobs_queued"
      "                 WHERE state = 'queued' AND owner = level.owner AND priority < level.priority)"
      "  FROM level WHERE level.priority IS NOT NULL"
      "), first (id) AS ("
      "  SELECT (SELECT min(id) FROM jobs INDEXED BY jobs_queued"
      "          WHERE state = 'queued' AND owner = level.owner AND priority = level.priority)"
      "  FROM level WHERE level.priority IS NOT NULL"
      ") SELECT min(created_us) FROM first JOIN jobs ON jobs.id = first.id");
  oldest->executeStep();
  return optional_int64(oldest->getColumn(0));
}

core::Result<std::string> JobReader::owner(const std::string& id) {
  Query row = connection_.query("SELECT owner FROM jobs WHERE id = ?");
  row->bindNoCopy(1, id);
  if (!row->executeStep()) return core::error(core::ErrorKind::not_found, "no job " + id);
  return row->getColumn(0).getString();
}

core::Result<std::map<std::string, std::uint64_t>> JobReader::queued_by_owner() {
  std::map<std::string, std::uint64_t> counts;
  Query rows = connection_.query("SELECT owner, count(*) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' GROUP BY owner");
  while (rows->executeStep()) counts.emplace(rows->getColumn(0).getString(), static_cast<std::uint64_t>(rows->getColumn(1).getInt64()));
  return counts;
}

core::Result<std::vector<AccessKey>> JobReader::keys() { return KeyTable(connection_).all(); }

core::Result<OwnerUse> JobReader::use_of(const std::string& owner, std::int64_t now_us) {
  Query use = connection_.query("SELECT stored_bytes, CASE cpu_hour WHEN ? THEN cpu_us ELSE 0 END FROM owner_use WHERE owner = ?");
  use->bind(1, now_us / kHourUs);
  use->bindNoCopy(2, owner);
  if (!use->executeStep()) return OwnerUse{};
  return OwnerUse{static_cast<std::uint64_t>(use->getColumn(0).getInt64()), static_cast<std::uint64_t>(use->getColumn(1).getInt64())};
}

core::Result<bool> JobReader::knows_key(const std::string& owner, const std::string& key) {
  Query known = connection_.query("SELECT 1 FROM idempotency_keys WHERE owner = ? AND key = ?");
  known->bindNoCopy(1, owner);
  known->bindNoCopy(2, key);
  return known->executeStep();
}

core::Result<std::optional<std::string>> JobReader::id_before_newest(std::uint64_t count) {
  Query next = connection_.query("SELECT id FROM jobs ORDER BY id DESC LIMIT 1 OFFSET ?");
  next->bind(1, static_cast<std::int64_t>(count));
  if (!next->executeStep()) return std::nullopt;
  return next->getColumn(0).getString();
}

core::Result<StoredJob> JobReader::get(const std::string& id) {
  Query row = connection_.query(
      "SELECT jobs.id, state, verdict, message, priority, attempt, created_us, started_us, finished_us, cancel_requested, "
      "owner, requests.document, coalesce(results.document, '') "
      "FROM jobs LEFT JOIN requests ON requests.job_id = jobs.id LEFT JOIN results ON results.job_id = jobs.id WHERE jobs.id = ?");
  row->bindNoCopy(1, id);
  if (!row->executeStep()) return core::error(core::ErrorKind::not_found, "no job " + id);
  StoredJob job;
  job.id = row->getColumn(0).getString();
  const auto state = core::job_state_from_name(row->getColumn(1).getString());
  if (!state) return core::error(core::ErrorKind::internal, "unknown state of job " + id);
  job.state = *state;
  if (!row->getColumn(2).isNull()) {
    job.verdict = core::verdict_from_name(row->getColumn(2).getString());
    if (!job.verdict) return core::error(core::ErrorKind::internal, "unknown verdict of job " + id);
  }
  job.message = row->getColumn(3).getString();
  job.priority = row->getColumn(4).getInt();
  job.attempt = row->getColumn(5).getInt();
  job.created_us = row->getColumn(6).getInt64();
  job.started_us = optional_int64(row->getColumn(7));
  job.finished_us = optional_int64(row->getColumn(8));
  job.cancel_requested = row->getColumn(9).getInt() != 0;
  job.owner = row->getColumn(10).getString();
  job.request = row->getColumn(11).getString();
  job.result = row->getColumn(12).getString();
  read_labels(job);
  return job;
}

core::Result<std::vector<StoredJob>> JobReader::list(const ListQuery& query) {
  if (query.labels.size() > kMaxListLabels)
    return core::error(core::ErrorKind::invalid, "at most " + std::to_string(kMaxListLabels) + " labels at a time");
  std::vector<StoredJob> jobs;
  for (const std::string& id : list_ids(connection_, query)) {
    auto job = get(id);
    if (!job) return std::unexpected(std::move(job.error()));
    jobs.push_back(std::move(*job));
  }
  return jobs;
}

core::Result<Store::Slice> JobReader::output(const std::string& id, int index, Stream stream, std::uint64_t offset, std::uint64_t length) {
  const auto bind = [&](Query& query) {
    query->bindNoCopy(1, id);
    query->bind(2, index);
    query->bindNoCopy(3, stream_name(stream));
    return 3;
  };
  return slice_of(connection_, "outputs WHERE job_id = ? AND step = ? AND stream = ?", bind, offset, length);
}

core::Result<Store::Slice> JobReader::artifact(const std::string& id, const std::string& path, std::uint64_t offset, std::uint64_t length) {
  const auto bind = [&](Query& query) {
    query->bindNoCopy(1, id);
    query->bindNoCopy(2, path);
    return 2;
  };
  return slice_of(connection_, "artifacts WHERE job_id = ? AND path = ?", bind, offset, length);
}

core::Result<Store::Slice> JobReader::blob(const std::string& owner, const std::string& digest, std::uint64_t offset,
                                           std::uint64_t length) {
  std::int64_t id = 0;
  {
    Query row = connection_.query("SELECT id FROM blobs WHERE owner = ? AND digest = ? AND whole = 1");
    row->bindNoCopy(1, owner);
    row->bindNoCopy(2, digest);
    if (!row->executeStep()) return core::error(core::ErrorKind::not_found, "no blob " + digest);
    id = row->getColumn(0).getInt64();
  }
  const auto bind = [&](Query& query) {
    query->bind(1, id);
    return 1;
  };
  return slice_of(connection_, "blob_pieces WHERE blob_id = ?", bind, offset, length);
}

}  // namespace bailiff::storage
