#pragma once
// The tables of files: blobs, which clients bring for their jobs, and artifacts, which jobs leave. Writes stand inside a transaction that
// the caller has begun; SQLite::Exception leaves these functions.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/connection.h"
#include "storage/store.h"

namespace bailiff::storage {

/// Outputs, blobs and artifacts are stored in pieces of this size: a slice of one reads only the pieces that it touches.
inline constexpr std::size_t kPieceBytes = 256U << 10;

/// Calls `put(offset, bytes)` for each piece; once with none where there are no bytes.
template <class Put>
void for_each_piece(std::string_view bytes, Put put) {
  std::size_t offset = 0;
  do {
    const auto piece = bytes.substr(offset, kPieceBytes);
    put(static_cast<std::uint64_t>(offset), piece);
    offset += piece.size();
  } while (offset < bytes.size());
}

class BlobTables {
 public:
  explicit BlobTables(Connection& connection) : connection_(connection) {}

  core::Result<std::int64_t> begin(const NewBlob& blob);
  core::Status add_piece(std::int64_t upload, std::uint64_t offset, const std::string& bytes);
  core::Status end(std::int64_t upload);
  core::Status drop(std::int64_t upload);
  core::Result<std::size_t> forget(std::int64_t used_before_us, int most);
  /// At start: of an upload that was cut off nothing is left.
  void drop_unfinished() { connection_.run("DELETE FROM blobs WHERE whole = 0"); }

  /// The blob, used now; nothing where the owner has none.
  std::optional<std::int64_t> use(const std::string& owner, const std::string& digest, std::int64_t now_us);
  /// The job needs it from now on.
  void need(const std::string& job_id, std::int64_t blob);
  void put_artifact(const std::string& job_id, const Artifact& artifact);

 private:
  Connection& connection_;
};

}  // namespace bailiff::storage
