#include "sandbox/image_mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/image_root.h"

namespace bailiff::sandbox {
namespace {

constexpr const char* kUnpackedDirectory = "unpacked";
constexpr std::string_view kStoredPrefix = "sha256-", kContentSuffix = ".erofs";

/// Image names of a launcher's configuration are its caller's own and may hold slashes ("/srv/rootfs").
std::string directory_name(const std::string& image) {
  std::string name;
  for (const char c : image) name += c == '/' ? std::string("%2f") : c == '%' ? std::string("%25") : std::string(1, c);
  return name;
}

/// A directory that root alone can change.
core::Fd open_roots_own(int parent, const char* name) {
  core::Fd directory(openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  const bool trusted = directory.valid() && fstat(directory.get(), &info) == 0 && info.st_uid == 0 && (info.st_mode & 022) == 0;
  return trusted ? std::move(directory) : core::Fd();
}

/// What `bailiff image unpack` made of an image, for a kernel without EROFS. Nothing where it is not there or not only root's.
core::Fd find_unpacked(int images, const std::string& name) {
  const core::Fd all = open_roots_own(images, kUnpackedDirectory);
  return all.valid() ? open_roots_own(all.get(), name.c_str()) : core::Fd();
}

std::string path_of(const core::Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

/// Where the launcher builds roots of images: private mounts.
std::string corner_of(const std::string& run_directory) { return run_directory + "/new"; }

/// Only root may write to it from now on, and nobody can who opened it before.
core::Status seal_content(int file) {
  struct stat info{};
  if (fstat(file, &info) != 0) return core::errno_error("look at the image");
  if (!S_ISREG(info.st_mode) || info.st_nlink != 1) return core::error(core::ErrorKind::invalid, "the image is no plain file");
  if (fchown(file, 0, 0) != 0 || fchmod(file, 0444) != 0) return core::errno_error("take the image over");
  // A read lease is given only where no descriptor for writing exists (fcntl(2)).
  if (fcntl(file, F_SETLEASE, F_RDLCK) != 0) return core::errno_error("the image may still be written to");
  if (fcntl(file, F_SETLEASE, F_UNLCK) != 0) return core::errno_error("give the lease back");
  return {};
}

}  // namespace

bool is_stored_image(std::string_view name) {
  if (!name.starts_with(kStoredPrefix) || name.size() != kStoredPrefix.size() + 64) return false;
  name.remove_prefix(kStoredPrefix.size());
  return std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string image_directory(const std::string& run_directory, const std::string& image) {
  return run_directory + "/images/" + directory_name(image);
}

bool is_image_root(const std::string& directory) { return access((directory + "/work").c_str(), F_OK) == 0; }

core::Status follow_image_mounts(const std::string& run_directory) {
  if (mount(nullptr, run_directory.c_str(), nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return core::errno_error("follow the image mounts");
  // What is being built in the corner just now would stay here for good. (Not before: it would go from where we come from, too.)
  if (umount2(corner_of(run_directory).c_str(), MNT_DETACH) != 0) return core::errno_error("leave the corner to build in");
  return {};
}

core::Status leave_host_mounts() {
  if (unshare(CLONE_NEWNS) != 0) return core::errno_error("unshare mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return core::errno_error("make mounts private");
  return {};
}

core::Status ImageMounts::start(const std::string& run_directory, const std::string& images_directory) {
  run_directory_ = run_directory;
  if (!images_directory.empty()) {
    images_ = core::Fd(open(images_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!images_.valid()) return core::errno_error("open the images directory " + images_directory);
  }
  const char* run = run_directory_.c_str();
  if (mount("bailiff", run, "tmpfs", MS_NOSUID | MS_NODEV, "size=2m,mode=0700") != 0) return core::errno_error("mount run directory");
  if (mount(nullptr, run, nullptr, MS_SHARED, nullptr) != 0) return core::errno_error("share the run directory");
  const std::string corner = corner_of(run_directory_);
  for (const std::string& directory : {run_directory_ + "/images", corner})
    if (mkdir(directory.c_str(), 0755) != 0) return core::errno_error("mkdir " + directory);
  if (mount("bailiff", corner.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0700") != 0 ||
      mount(nullptr, corner.c_str(), nullptr, MS_PRIVATE, nullptr) != 0)
    return core::errno_error("mount a corner to build in");
  for (const char* directory : {"/root", "/content"})
    if (mkdir((corner + directory).c_str(), 0755) != 0) return core::errno_error("mkdir in the corner");
  return {};
}

core::Status ImageMounts::add(const Image& image) {
  const std::string target = image_directory(run_directory_, image.name);
  if (mkdir(target.c_str(), 0755) != 0) return core::errno_error("mkdir " + target);
  auto shown = show(image);
  if (!shown) (void)rmdir(target.c_str());
  return shown;
}

core::Status ImageMounts::show(const Image& image) {
  const std::string corner = corner_of(run_directory_), root = corner + "/root";
  auto built = build_image_root(image, root, corner + "/content");
  if (built && mount(root.c_str(), image_directory(run_directory_, image.name).c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    built = core::errno_error("show image " + image.name);
  if (umount2(root.c_str(), MNT_DETACH) != 0 && built) built = core::errno_error("clear the corner");
  return built;
}

core::Status ImageMounts::add_stored(const std::string& name) {
  if (!is_stored_image(name) || !images_.valid()) return core::error(core::ErrorKind::invalid, "no image of the images directory: " + name);
  if (std::find(stored_.begin(), stored_.end(), name) != stored_.end()) return {};
  if (stored_.size() >= kMost) return core::error(core::ErrorKind::unavailable, "there are too many images");
  const std::string file = name + std::string(kContentSuffix);
  const core::Fd content(openat(images_.get(), file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!content.valid()) return core::errno_error("open image " + name);
  if (auto sealed = seal_content(content.get()); !sealed) return sealed;
  const core::Fd unpacked = find_unpacked(images_.get(), name);
  auto added = add({name, Image::Kind::erofs, path_of(content), unpacked.valid() ? path_of(unpacked) : ""});
  if (added) stored_.push_back(name);
  return added;
}

core::Status ImageMounts::remove_stored(const std::string& name) {
  const auto found = std::find(stored_.begin(), stored_.end(), name);
  if (found == stored_.end()) return {};
  const std::string directory = image_directory(run_directory_, name);
  if (umount2(directory.c_str(), MNT_DETACH) != 0) return core::errno_error("unmount image " + name);
  if (rmdir(directory.c_str()) != 0) return core::errno_error("rmdir " + directory);
  stored_.erase(found);
  return {};
}

}  // namespace bailiff::sandbox
