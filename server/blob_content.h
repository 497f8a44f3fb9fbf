#pragma once
// Blobs as the contents of a job: which it names, how large they are, and their bytes when it runs.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/job.h"
#include "core/result.h"
#include "storage/store.h"

namespace bailiff::server {

/// That all blobs of a job may have together, counted each time that it names them: they stand in memory while it runs.
inline constexpr std::uint64_t kMaxJobBlobBytes = 256ULL << 20;

/// Whether it has the shape of a digest: "sha256:" and 64 hexadecimal digits in lower case.
[[nodiscard]] bool is_blob_digest(std::string_view text);

/// The digest of bytes that come in pieces.
class BlobDigest {
 public:
  BlobDigest();
  void add(std::string_view bytes);
  /// Once.
  [[nodiscard]] std::string text();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

[[nodiscard]] bool names_blobs(const core::JobSpec& spec);
/// The digests that it names, each once.
[[nodiscard]] std::vector<std::string> blobs_of(const core::JobSpec& spec);
/// Puts the bytes of the owner's blobs in the place of their names. Any thread.
core::Status load_blobs(core::JobSpec& spec, const std::string& owner, storage::Store& store);

}  // namespace bailiff::server
