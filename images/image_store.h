#pragma once
// Images on this machine: one directory with one content file an image, named by its digest, and one small manifest a name.
//
//   sha256-<hex>.erofs   the file system; its digest is that of the file's bytes
//   <name>.json          what stands behind the name; the same content may have several names
//   .new-…               being made; removed by whoever next writes to the store
//   .lock                held while the store is written to
//
// Whatever is made is made under a temporary name, flushed and renamed, so that a reader never sees half of it and a failure leaves
// nothing.
// Who uses an image holds a shared lock on its content (hold()); what is held is not removed. Any process may read at any time; functions
// may be called from any thread.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::images {

/// What a language's version command said in an image; empty: it failed, so its tools are not there. Another command has to be asked anew.
struct ProbedVersion {
  std::vector<std::string> command;
  std::string version;  // its first line
  bool operator==(const ProbedVersion&) const = default;
};

struct StoredImage {
  std::string name;
  std::string digest;  // "sha256:<hex>"
  std::string kind = "erofs";
  std::string source;  // "rootfs", "oci", "docker", "build"
  std::uint64_t bytes = 0;  // of the content, on disk
  std::int64_t created_us = 0;  // Unix time
  std::map<std::string, std::string> env;
  std::string workdir;  // as the image says it; empty: none
  std::vector<std::string> entrypoint;  // likewise
  std::map<std::string, ProbedVersion> versions{};  // by language, as far as they were asked
};

/// Of a-z 0-9 . _ + -, at most 64, beginning with a letter or digit; not "host" and nothing that looks like a digest.
[[nodiscard]] bool is_image_name(std::string_view name);
inline constexpr std::string_view kContentPrefix = "sha256-";
/// "sha256-<hex>": the digest as a file name, which is also the image's name in the sandbox.
[[nodiscard]] std::string content_name(std::string_view digest);

class ImageStore {
 public:
  /// `directory` is made (mode 0700) where it does not exist; its parent must.
  static core::Result<ImageStore> open(const std::string& directory);
  [[nodiscard]] const std::string& directory() const { return directory_; }

  /// By name. A manifest that cannot be understood or whose content is gone is left out.
  [[nodiscard]] core::Result<std::vector<StoredImage>> list() const;
  /// not_found: no such name.
  [[nodiscard]] core::Result<StoredImage> find(const std::string& name) const;
  /// The content of an image, locked so that nobody removes it while the descriptor lives.
  [[nodiscard]] core::Result<core::Fd> hold(const std::string& digest) const;

  using BeforeNamed = std::function<core::Status(const StoredImage&)>;
  /// An image on its way in. What is not committed is gone with the object.
  class Draft {
   public:
    Draft(Draft&&) noexcept = default;
    ~Draft();
    [[nodiscard]] int spool() const { return spool_.get(); }  // unnamed; for the importer's use
    [[nodiscard]] int content() const { return content_.get(); }
    /// Flushes what is in content(), names it by its digest and puts `image` (whose digest and bytes are filled in) in the place of
    /// whatever had its name. Before that, once the content is in its place, `before_named` is asked; its Error ends it, and what had
    /// the name has it still.
    core::Result<StoredImage> commit(StoredImage image, const BeforeNamed& before_named = {});

   private:
    friend class ImageStore;
    Draft(const ImageStore& store, core::Fd lock) : store_(&store), lock_(std::move(lock)) {}
    const ImageStore* store_;
    core::Fd lock_, spool_, content_;
    std::string temporary_;
  };
  /// Waits for other writers, `lock_wait_s` seconds at most (unavailable).
  [[nodiscard]] core::Result<Draft> draft(unsigned lock_wait_s = 60) const;

  /// Adds to what is known of the image, where the name still stands for this content. Waits for other writers.
  core::Status note_versions(const std::string& name, const std::string& digest,
                             const std::map<std::string, ProbedVersion>& versions) const;

  /// Forgets the name; the content goes with its last name. not_found; conflict: somebody holds the content.
  core::Status remove(const std::string& name) const;
  struct Collected {
    std::size_t files = 0;
    std::uint64_t bytes = 0;
    std::size_t held = 0;  // without a name, but in use
  };
  /// Removes content that no name stands for and what broken-off imports left.
  [[nodiscard]] core::Result<Collected> collect_garbage() const;

 private:
  ImageStore(std::string directory, core::Fd fd) : directory_(std::move(directory)), fd_(std::move(fd)) {}
  [[nodiscard]] core::Result<core::Fd> lock(unsigned wait_s) const;
  [[nodiscard]] core::Status write_manifest(const StoredImage& image) const;
  [[nodiscard]] core::Status remove_content(const std::string& digest) const;
  /// Gives a new file to the directory's owner, where we are root and it is not.
  [[nodiscard]] core::Status give_to_owner(int file) const;

  std::string directory_;
  core::Fd fd_;
};

}  // namespace bailiff::images
