#include "sandbox/image_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "core/fd.h"
#include "sandbox/cgroup_devices.h"
#include "sandbox/erofs_mount.h"

namespace bailiff::sandbox {
namespace {

namespace fs = std::filesystem;

// Directories that every sandbox has of its own; an image's are not shown.
constexpr std::array kOwn = {"proc", "dev", "sys", "work", "tmp", "run", "mnt", "media", "root", "home", "boot", "lost+found"};
// The same for an EROFS image, which was made or brought to be seen as it is.
constexpr std::array kOwnOverErofs = {"proc", "dev", "sys", "work", "tmp"};
// What the host image shows of this machine beside /usr: the old names of its parts.
constexpr std::array kHostEntries = {"bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr"};
// What of the host's /etc programs need and may know: which tool is meant by a name, and language runtimes' own settings.
constexpr std::array kHostEtc = {"alternatives",
                                 "ld.so.cache",
                                 "ld.so.conf",
                                 "ld.so.conf.d",
                                 "ssl/certs",
                                 "ssl/openssl.cnf",
                                 "ca-certificates",
                                 "java-17-openjdk",
                                 "java-11-openjdk",
                                 "java-21-openjdk",
                                 "mono",
                                 "perl",
                                 "python3",
                                 "python3.11",
                                 "php",
                                 "R",
                                 "ghc",
                                 "erlang",
                                 "scheme48",
                                 "mime.types",
                                 "services",
                                 "protocols",
                                 "localtime",
                                 "timezone",
                                 "debian_version"};
constexpr std::uintmax_t kMaxEtcFileBytes = 4 << 20;
constexpr std::size_t kMaxEntries = 272;  // of an image's root: what the importer lets through and what it adds itself

core::Status make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return core::errno_error("mkdir " + path);
  if (chmod(path.c_str(), mode) != 0) return core::errno_error("chmod " + path);
  return {};
}

core::Status write_file(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
  std::error_code fault;
  if (fs::file_size(path, fault) != text.size()) return core::error(core::ErrorKind::internal, "cannot write " + path);
  return {};
}

core::Status bind_read_only(const std::string& from, const std::string& to) {
  if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) return core::errno_error("bind " + from);
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (mount(nullptr, to.c_str(), nullptr, kFlags, nullptr) != 0) return core::errno_error("remount read-only " + to);
  return {};
}

/// Shows one top-level entry of the image in the new root: a link as the same link, a directory or file bound.
core::Status show_entry(const fs::path& entry, const std::string& root) {
  const std::string target = root + "/" + entry.filename().string();
  std::error_code fault;
  const auto status = fs::symlink_status(entry, fault);
  if (fs::is_symlink(status)) {
    fs::create_symlink(fs::read_symlink(entry, fault), target, fault);
    if (fault) return core::error(core::ErrorKind::internal, "symlink " + target + ": " + fault.message());
    return {};
  }
  if (fs::is_directory(status)) {
    if (auto made = make_directory(target, 0755); !made) return made;
    // Every mount is copied for every sandbox.
    return fs::is_empty(entry, fault) ? core::Status{} : bind_read_only(entry.string(), target);
  }
  if (!fs::is_regular_file(status)) return {};
  if (auto made = write_file(target, ""); !made) return made;
  return bind_read_only(entry.string(), target);
}

/// Copies what everybody on the host may read; links as links, nothing else followed.
void copy_readable(const fs::path& from, const fs::path& to) {
  std::error_code fault;
  const auto status = fs::symlink_status(from, fault);
  if (fs::is_symlink(status)) {
    const auto target = fs::read_symlink(from, fault);
    fs::create_symlink(target, to, fault);
  } else if (fs::is_directory(status)) {
    fs::create_directories(to, fault);
    for (const auto& entry : fs::directory_iterator(from, fault)) copy_readable(entry.path(), to / entry.path().filename());
  } else if (fs::is_regular_file(status) && (status.permissions() & fs::perms::others_read) != fs::perms::none &&
             fs::file_size(from, fault) <= kMaxEtcFileBytes) {
    fs::copy_file(from, to, fault);
  }
}

bool is_shown(Image::Kind kind, const std::string& name) {
  const auto is_name = [&](const char* other) { return name == other; };
  switch (kind) {
    case Image::Kind::host: return std::any_of(kHostEntries.begin(), kHostEntries.end(), is_name);
    case Image::Kind::directory: return std::none_of(kOwn.begin(), kOwn.end(), is_name);
    case Image::Kind::erofs: return std::none_of(kOwnOverErofs.begin(), kOwnOverErofs.end(), is_name);
  }
  return false;
}

core::Status show_entries(const Image& image, const std::string& from, const std::string& root) {
  std::error_code fault;
  std::size_t shown = 0;
  for (const auto& entry : fs::directory_iterator(from, fault)) {
    if (!is_shown(image.kind, entry.path().filename().string())) continue;
    // Each is a mount that we make as root and that every sandbox copies, and whoever named the image may want many.
    if (++shown > kMaxEntries) return core::error(core::ErrorKind::invalid, "the root of image " + image.name + " has too many entries");
    if (auto made = show_entry(entry.path(), root); !made) return made;
  }
  if (fault) return core::error(core::ErrorKind::internal, "cannot list the root of image " + image.name + ": " + fault.message());
  return {};
}

core::Status show_erofs(const Image& image, const std::string& directory, const std::string& content) {
  const core::Fd file(open(image.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return core::errno_error("open image " + image.name);
  const auto mounted = mount_erofs(file.get(), content);
  const bool lacks_erofs = !mounted && mounted.error().kind == core::ErrorKind::unavailable;
  if (lacks_erofs && !image.unpacked.empty()) return show_entries(image, image.unpacked, directory);
  if (!mounted) return mounted;
  auto shown = show_entries(image, content, directory);
  // The entries' own mounts keep it alive.
  if (umount2(content.c_str(), MNT_DETACH) != 0 && shown) shown = core::errno_error("unmount the content");
  return shown;
}

core::Status make_host_etc(const std::string& etc) {
  if (auto made = make_directory(etc, 0755); !made) return made;
  std::error_code fault;
  for (const char* name : kHostEtc) {
    const fs::path from = fs::path("/etc") / name, to = fs::path(etc) / name;
    if (!fs::exists(fs::symlink_status(from, fault))) continue;
    fs::create_directories(to.parent_path(), fault);
    copy_readable(from, to);
  }
  const std::pair<const char*, const char*> files[] = {
      {"passwd",
       "root:x:0:0:root:/:/usr/sbin/nologin\nrunner:x:1000:1000:runner:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"},
      {"group", "root:x:0:\nrunner:x:1000:\nnogroup:x:65534:\n"},
      {"hosts", "127.0.0.1 localhost bailiff\n::1 localhost bailiff\n"},
      {"hostname", "bailiff\n"},
      {"resolv.conf", ""},
      {"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n"},
  };
  for (const auto& [name, text] : files)
    if (auto written = write_file(etc + "/" + name, text); !written) return written;
  return {};
}

core::Status make_devices(const std::string& dev) {
  if (auto made = make_directory(dev, 0755); !made) return made;
  for (const auto& node : kDeviceNodes) {
    const std::string path = dev + "/" + node.name;
    if (mknod(path.c_str(), S_IFCHR | 0666, makedev(node.major, node.minor)) != 0) return core::errno_error("mknod " + path);
    if (chmod(path.c_str(), 0666) != 0) return core::errno_error("chmod " + path);
  }
  const std::pair<const char*, const char*> links[] = {{"fd", "/proc/self/fd"},
                                                       {"stdin", "/proc/self/fd/0"},
                                                       {"stdout", "/proc/self/fd/1"},
                                                       {"stderr", "/proc/self/fd/2"},
                                                       {"ptmx", kTerminalMaker.name}};
  for (const auto& [name, target] : links)
    if (symlink(target, (dev + "/" + name).c_str()) != 0) return core::errno_error(std::string("symlink ") + name);
  for (const char* directory : {"/shm", "/pts"})
    if (auto made = make_directory(dev + directory, 0755); !made) return made;
  return {};
}

}  // namespace

core::Status build_image_root(const Image& image, const std::string& directory, const std::string& content) {
  if (mount("bailiff", directory.c_str(), "tmpfs", MS_NOSUID, "size=64m,mode=0755") != 0) return core::errno_error("mount tmpfs");
  const bool host = image.kind == Image::Kind::host;
  if (auto shown = image.kind == Image::Kind::erofs ? show_erofs(image, directory, content)
                                                    : show_entries(image, host ? "/" : image.path, directory);
      !shown)
    return shown;
  if (host)
    if (auto made = make_host_etc(directory + "/etc"); !made) return made;
  if (auto made = make_devices(directory + "/dev"); !made) return made;
  for (const char* mount_point : {"/proc", "/work", "/tmp"})
    if (auto made = make_directory(directory + mount_point, 0755); !made) return made;
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID;
  if (mount(nullptr, directory.c_str(), nullptr, kFlags, nullptr) != 0) return core::errno_error("remount read-only");
  return {};
}

}  // namespace bailiff::sandbox
