#include "storage/blob_tables.h"

namespace bailiff::storage {

core::Result<std::int64_t> BlobTables::begin(const NewBlob& blob) {
  {
    Query stored = connection_.query("SELECT bytes FROM blobs_total");
    stored->executeStep();
    const auto bytes = static_cast<std::uint64_t>(stored->getColumn(0).getInt64());
    if (blob.bytes > blob.most_bytes || bytes > blob.most_bytes - blob.bytes)
      return core::error(core::ErrorKind::conflict, "there is no room for another blob");
  }
  Query row = connection_.query("INSERT INTO blobs (owner, digest, bytes, used_us) VALUES (?, ?, ?, ?) RETURNING id");
  row->bindNoCopy(1, blob.owner);
  row->bindNoCopy(2, blob.digest);
  row->bind(3, static_cast<std::int64_t>(blob.bytes));
  row->bind(4, blob.now_us);
  if (!row->executeStep()) return core::error(core::ErrorKind::internal, "a blob was not inserted");
  return row->getColumn(0).getInt64();
}

core::Status BlobTables::add_piece(std::int64_t upload, std::uint64_t offset, const std::string& bytes) {
  for_each_piece(bytes, [&](std::uint64_t start, std::string_view piece) {
    Query row = connection_.query("INSERT INTO blob_pieces (blob_id, offset_bytes, bytes) VALUES (?, ?, ?)");
    row->bind(1, upload);
    row->bind(2, static_cast<std::int64_t>(offset + start));
    row->bindNoCopy(3, piece.data(), static_cast<int>(piece.size()));
    row->exec();
  });
  return {};
}

core::Status BlobTables::end(std::int64_t upload) {
  Query row =
      connection_.query("UPDATE blobs SET whole = 1 WHERE id = ?1 AND bytes = (SELECT coalesce(sum(length(bytes)), 0) FROM blob_pieces "
                        "WHERE blob_id = ?1)");
  row->bind(1, upload);
  if (row->exec() == 1) return {};
  return core::error(core::ErrorKind::internal, "a blob has not the bytes that it began with");
}

core::Status BlobTables::drop(std::int64_t upload) {
  Query row = connection_.query("DELETE FROM blobs WHERE id = ? AND whole = 0");
  row->bind(1, upload);
  row->exec();
  return {};
}

core::Result<std::size_t> BlobTables::forget(std::int64_t used_before_us, int most) {
  Query row = connection_.query("DELETE FROM blobs WHERE id IN (SELECT id FROM blobs INDEXED BY blobs_unneeded "
                                "WHERE needs = 0 AND whole = 1 AND used_us < ? ORDER BY used_us LIMIT ?)");
  row->bind(1, used_before_us);
  row->bind(2, most);
  return static_cast<std::size_t>(row->exec());
}

std::optional<std::int64_t> BlobTables::use(const std::string& owner, const std::string& digest, std::int64_t now_us) {
  Query row = connection_.query("UPDATE blobs SET used_us = max(used_us, ?) WHERE owner = ? AND digest = ? AND whole = 1 RETURNING id");
  row->bind(1, now_us);
  row->bindNoCopy(2, owner);
  row->bindNoCopy(3, digest);
  if (!row->executeStep()) return std::nullopt;
  return row->getColumn(0).getInt64();
}

void BlobTables::need(const std::string& job_id, std::int64_t blob) {
  Query row = connection_.query("INSERT OR IGNORE INTO job_blobs (job_id, blob_id) VALUES (?, ?)");
  row->bindNoCopy(1, job_id);
  row->bind(2, blob);
  row->exec();
}

void BlobTables::put_artifact(const std::string& job_id, const Artifact& artifact) {
  for_each_piece(artifact.bytes, [&](std::uint64_t offset, std::string_view piece) {
    Query row = connection_.query("INSERT INTO artifacts (job_id, path, offset_bytes, bytes) VALUES (?, ?, ?, ?)");
    row->bindNoCopy(1, job_id);
    row->bindNoCopy(2, artifact.path);
    row->bind(3, static_cast<std::int64_t>(offset));
    row->bindNoCopy(4, piece.data(), static_cast<int>(piece.size()));
    row->exec();
  });
}

}  // namespace bailiff::storage
