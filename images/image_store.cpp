#include "images/image_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "core/json/json.h"
#include "images/file_range.h"
#include "images/sha256.h"
#include "images/unpacked.h"

namespace bailiff::images {
namespace {

using core::Json;

constexpr std::size_t kMaxNameLength = 64, kMaxImages = 4096;
constexpr std::uint64_t kMaxManifestBytes = 4 << 20;
constexpr std::string_view kManifestSuffix = ".json", kContentSuffix = ".erofs", kTemporaryPrefix = ".new-";

Json to_json(const StoredImage& image) {
  Json versions = Json::object();
  for (const auto& [language, probed] : image.versions)
    versions[language] = {{"command", probed.command}, {"version", core::to_utf8(probed.version)}};
  return {{"name", image.name},
          {"digest", image.digest},
          {"kind", image.kind},
          {"source", image.source},
          {"bytes", image.bytes},
          {"created_us", image.created_us},
          {"env", image.env},
          {"workdir", image.workdir},
          {"entrypoint", image.entrypoint},
          {"versions", std::move(versions)}};
}

std::optional<StoredImage> from_json(const Json& document, const std::string& name) {
  try {
    StoredImage image{.name = name,
                      .digest = document.at("digest"),
                      .kind = document.at("kind"),
                      .source = document.at("source"),
                      .bytes = document.at("bytes"),
                      .created_us = document.at("created_us"),
                      .env = document.at("env"),
                      .workdir = document.at("workdir"),
                      .entrypoint = document.at("entrypoint")};
    if (const auto versions = document.find("versions"); versions != document.end())
      for (const auto& [language, probed] : versions->items()) image.versions[language] = {probed.at("command"), probed.at("version")};
    if (is_digest(image.digest) && image.kind == "erofs") return image;
  } catch (const Json::exception&) {}  // what is no manifest of ours
  return std::nullopt;
}

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Of a content file.
std::string digest_of(const std::string& file) {
  return std::string(kDigestPrefix) + file.substr(kContentPrefix.size(), file.size() - kContentPrefix.size() - kContentSuffix.size());
}

std::string content_file(std::string_view digest) { return content_name(digest) + std::string(kContentSuffix); }

core::Result<std::vector<std::string>> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code fault;
  for (std::filesystem::directory_iterator entry(directory, fault), end; !fault && entry != end; entry.increment(fault))
    names.push_back(entry->path().filename().string());
  if (fault) return core::error(core::ErrorKind::internal, fmt::format("cannot list {}: {}", directory, fault.message()));
  std::ranges::sort(names);
  return names;
}

}  // namespace

bool is_image_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > kMaxNameLength || !plain(name.front()) || name == "host" || name.starts_with("sha256")) return false;
  return std::ranges::all_of(name, [&](char c) { return plain(c) || std::string_view("._+-").contains(c); });
}

std::string content_name(std::string_view digest) {
  std::string name(digest);
  std::ranges::replace(name, ':', '-');
  return name;
}

core::Result<ImageStore> ImageStore::open(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return core::errno_error("cannot make " + directory);
  core::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return core::errno_error("cannot open " + directory);
  return ImageStore(directory, std::move(fd));
}

core::Result<std::vector<StoredImage>> ImageStore::list() const {
  auto names = names_in(directory_);
  if (!names) return std::unexpected(std::move(names.error()));
  std::vector<StoredImage> images;
  for (const std::string& file : *names) {
    if (!file.ends_with(kManifestSuffix) || images.size() >= kMaxImages) continue;
    const std::string name = file.substr(0, file.size() - kManifestSuffix.size());
    if (auto image = find(name)) images.push_back(std::move(*image));
  }
  return images;
}

core::Result<StoredImage> ImageStore::find(const std::string& name) const {
  const auto unknown = [&] { return core::error(core::ErrorKind::not_found, fmt::format("there is no image \"{}\"", name)); };
  if (!is_image_name(name)) return unknown();
  const core::Fd file(::openat(fd_.get(), (name + std::string(kManifestSuffix)).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info{};
  if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return unknown();
  const auto text = read_whole(file.get(), {0, static_cast<std::uint64_t>(info.st_size)}, kMaxManifestBytes);
  if (!text) return unknown();
  auto image = from_json(Json::parse(*text, nullptr, false), name);
  if (!image || ::faccessat(fd_.get(), content_file(image->digest).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) return unknown();
  return std::move(*image);
}

core::Result<core::Fd> ImageStore::hold(const std::string& digest) const {
  if (!is_digest(digest)) return core::error(core::ErrorKind::invalid, "no digest: " + digest);
  core::Fd file(::openat(fd_.get(), content_file(digest).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return core::errno_error("open image " + digest);
  if (struct stat info{}; ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return core::error(core::ErrorKind::invalid, "no plain file: image " + digest);
  if (::flock(file.get(), LOCK_SH | LOCK_NB) != 0) return core::errno_error("hold image " + digest);
  return file;
}

core::Result<core::Fd> ImageStore::lock(unsigned wait_s) const {
  // We may be root in a directory of somebody else's: only what we made is given away, and of what is there only a plain file is taken.
  constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
  core::Fd file(::openat(fd_.get(), ".lock", kFlags | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.valid()) {
    if (auto given = give_to_owner(file.get()); !given) return std::unexpected(std::move(given.error()));
  } else {
    file = core::Fd(::openat(fd_.get(), ".lock", kFlags | O_CLOEXEC));
    if (!file.valid()) return core::errno_error("cannot open the lock of " + directory_);
    struct stat info{};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink > 1)
      return core::error(core::ErrorKind::invalid, fmt::format("{}/.lock is no file of its own", directory_));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(wait_s);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return core::errno_error("cannot lock " + directory_);
    if (std::chrono::steady_clock::now() >= deadline)
      return core::error(core::ErrorKind::unavailable, fmt::format("{}: somebody else is writing to it", directory_));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // flock has no deadline of its own
  }
  return file;
}

core::Status ImageStore::give_to_owner(int file) const {
  struct stat info{};
  if (::geteuid() != 0) return {};
  if (::fstat(fd_.get(), &info) != 0 || ::fchown(file, info.st_uid, info.st_gid) != 0)
    return core::errno_error("cannot give a file to the owner of " + directory_);
  return {};
}

core::Result<ImageStore::Draft> ImageStore::draft(unsigned lock_wait_s) const {
  auto held = lock(lock_wait_s);
  if (!held) return std::unexpected(std::move(held.error()));
  auto names = names_in(directory_);
  if (!names) return std::unexpected(std::move(names.error()));
  for (const std::string& name : *names)  // we are the only writer, so whoever made them is gone
    if (name.starts_with(kTemporaryPrefix)) (void)::unlinkat(fd_.get(), name.c_str(), 0);
  Draft draft(*this, std::move(*held));
  draft.spool_ = core::Fd(::openat(fd_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!draft.spool_.valid()) return core::errno_error("cannot make a file in " + directory_);
  const std::string temporary = fmt::format("{}{}", kTemporaryPrefix, ::getpid());
  draft.content_ = core::Fd(::openat(fd_.get(), temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!draft.content_.valid()) return core::errno_error("cannot make a file in " + directory_);
  draft.temporary_ = temporary;
  return draft;
}

ImageStore::Draft::~Draft() {
  if (lock_.valid() && !temporary_.empty()) (void)::unlinkat(store_->fd_.get(), temporary_.c_str(), 0);
}

core::Result<StoredImage> ImageStore::Draft::commit(StoredImage image, const BeforeNamed& before_named) {
  if (!is_image_name(image.name)) return core::error(core::ErrorKind::invalid, fmt::format("\"{}\" is no name for an image", image.name));
  struct stat info{};
  if (::fstat(content_.get(), &info) != 0) return core::errno_error("look at the new image");
  image.bytes = static_cast<std::uint64_t>(info.st_size);
  image.created_us = now_us();
  auto hex = sha256_of_range(content_.get(), 0, image.bytes);
  if (!hex) return std::unexpected(std::move(hex.error()));
  image.digest = std::string(kDigestPrefix) + *hex;
  if (auto given = store_->give_to_owner(content_.get()); !given) return std::unexpected(std::move(given.error()));
  if (::fchmod(content_.get(), 0400) != 0 || ::fsync(content_.get()) != 0) return core::errno_error("flush the new image");
  const int directory = store_->fd_.get();
  const std::string file = content_file(image.digest);
  // The same content may be there already, in use and not ours to replace.
  if (::renameat2(directory, temporary_.c_str(), directory, file.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
  } else if (errno != EEXIST) {
    return core::errno_error("name the new image");
  }
  content_.reset();  // nobody may have it open for writing who wants it mounted
  auto written = before_named ? before_named(image) : core::Status{};
  if (written) written = store_->write_manifest(image);
  if (!written) {
    if (temporary_.empty()) (void)store_->remove_content(image.digest);  // unless another name stands for it
    return std::unexpected(std::move(written.error()));
  }
  return image;
}

core::Status ImageStore::write_manifest(const StoredImage& image) const {
  const std::string temporary = fmt::format("{}{}{}", kTemporaryPrefix, ::getpid(), kManifestSuffix);
  (void)::unlinkat(fd_.get(), temporary.c_str(), 0);  // of a process before us with our number; we hold the lock
  const core::Fd file(::openat(fd_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return core::errno_error("write the image's manifest");
  auto written = write_at(file.get(), to_json(image).dump(2, ' ', false, Json::error_handler_t::replace) + "\n", 0);
  if (written) written = give_to_owner(file.get());
  if (written && ::fsync(file.get()) != 0) written = core::errno_error("flush the image's manifest");
  if (written && ::renameat(fd_.get(), temporary.c_str(), fd_.get(), (image.name + std::string(kManifestSuffix)).c_str()) != 0)
    written = core::errno_error("name the image's manifest");
  if (written && ::fsync(fd_.get()) != 0) written = core::errno_error("flush " + directory_);
  if (!written) (void)::unlinkat(fd_.get(), temporary.c_str(), 0);
  return written;
}

core::Status ImageStore::note_versions(const std::string& name, const std::string& digest,
                                       const std::map<std::string, ProbedVersion>& versions) const {
  if (versions.empty()) return {};
  auto held = lock(60);
  if (!held) return std::unexpected(std::move(held.error()));
  auto image = find(name);
  if (!image) return std::unexpected(std::move(image.error()));
  if (image->digest != digest) return core::error(core::ErrorKind::conflict, fmt::format("{} is another image by now", name));
  for (const auto& [language, probed] : versions) image->versions[language] = probed;
  return write_manifest(*image);
}

core::Status ImageStore::remove_content(const std::string& digest) const {
  auto images = list();
  if (!images) return std::unexpected(std::move(images.error()));
  if (std::ranges::any_of(*images, [&](const StoredImage& image) { return image.digest == digest; })) return {};
  const std::string file = content_file(digest);
  const core::Fd content(::openat(fd_.get(), file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (content.valid() && ::flock(content.get(), LOCK_EX | LOCK_NB) != 0)
    return core::error(core::ErrorKind::conflict, "a running server or program uses it");
  if (auto removed = remove_unpacked(directory_, digest); !removed) return removed;
  if (::unlinkat(fd_.get(), file.c_str(), 0) != 0 && errno != ENOENT) return core::errno_error("remove " + file);
  return {};
}

core::Status ImageStore::remove(const std::string& name) const {
  auto held = lock(60);
  if (!held) return std::unexpected(std::move(held.error()));
  auto image = find(name);
  if (!image) return std::unexpected(std::move(image.error()));
  // Asked first, so that a refusal changes nothing: under the lock nobody gives the content another name.
  if (auto others = list(); others && std::ranges::count(*others, image->digest, &StoredImage::digest) == 1) {
    const core::Fd content(::openat(fd_.get(), content_file(image->digest).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (content.valid() && ::flock(content.get(), LOCK_EX | LOCK_NB) != 0)
      return core::error(core::ErrorKind::conflict, "a running server or program uses it");
  }
  if (::unlinkat(fd_.get(), (name + std::string(kManifestSuffix)).c_str(), 0) != 0) return core::errno_error("remove the image " + name);
  if (::fsync(fd_.get()) != 0) return core::errno_error("flush " + directory_);
  return remove_content(image->digest);
}

core::Result<ImageStore::Collected> ImageStore::collect_garbage() const {
  auto held = lock(60);
  if (!held) return std::unexpected(std::move(held.error()));
  auto names = names_in(directory_);
  auto images = list();
  if (!names || !images) return std::unexpected(std::move(names ? images.error() : names.error()));
  std::set<std::string> used;
  for (const StoredImage& image : *images) used.insert(content_file(image.digest));
  Collected collected;
  for (const std::string& name : *names) {
    const bool content = name.starts_with(kContentPrefix) && name.ends_with(kContentSuffix);
    if ((!content || used.contains(name)) && !name.starts_with(kTemporaryPrefix)) continue;
    const core::Fd file(::openat(fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0) continue;
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      ++collected.held;
      continue;
    }
    if (auto removed = content ? remove_unpacked(directory_, digest_of(name)) : core::Status{}; !removed)
      return std::unexpected(std::move(removed.error()));
    if (::unlinkat(fd_.get(), name.c_str(), 0) != 0) return core::errno_error("remove " + name);
    ++collected.files;
    collected.bytes += static_cast<std::uint64_t>(info.st_size);
  }
  return collected;
}

}  // namespace bailiff::images
