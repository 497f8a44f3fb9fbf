#include "server/privileges.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "storage/store.h"

namespace bailiff::server {
namespace {

using core::errno_error;

std::unexpected<core::Error> failed(std::string what) { return core::error(core::ErrorKind::internal, std::move(what)); }

constexpr std::string_view kFileSystemsOwn = "lost+found";  // there when the data directory is a mount point
constexpr const char* kSystemUser = "bailiff";

bool parse_id(std::string_view text, std::uint32_t& id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() && id != 0 && id != UINT32_MAX;
}

core::Result<std::vector<std::string>> names_in(int directory) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return errno_error("open the data directory");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), &::closedir);
  if (stream == nullptr) return errno_error("read the data directory");
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

/// Root's `bailiff image` may have made it, with files that its owner then manages.
core::Status prepare_images_directory(int data, const std::string& path, const Identity& owner) {
  const auto shown = fmt::format("{}/{}", path, kImagesDirectory);
  if (::mkdirat(data, kImagesDirectory, 0700) != 0 && errno != EEXIST) return errno_error("data: cannot make " + shown);
  const core::Fd directory(::openat(data, kImagesDirectory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return errno_error("data: cannot open " + shown);
  const auto names = names_in(directory.get());
  if (!names) return std::unexpected(names.error());
  for (const auto& name : *names) {
    const core::Fd file(::openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1)
      return failed(fmt::format("data: {}/{} is not a plain file", shown, name));
    if (::fchown(file.get(), owner.uid, owner.gid) != 0)
      return errno_error(fmt::format("data: cannot give {}/{} to uid {}", shown, name, owner.uid));
  }
  if (::fchown(directory.get(), owner.uid, owner.gid) != 0 || ::fchmod(directory.get(), 0700) != 0)
    return errno_error(fmt::format("data: cannot give {} to uid {}", shown, owner.uid));
  return {};
}

/// A line "Key:\tvalue" of /proc/self/status.
std::string status_value(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const auto start = line.find_first_not_of(" \t", key.size() + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "missing";
}

core::Status drop_bounding_set() {
  for (int capability = 0; capability < 64; ++capability) {
    const int present = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (present < 0) break;  // past the last one that this kernel knows
    if (present == 1 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return errno_error(fmt::format("drop capability {}", capability));
  }
  return {};
}

core::Status clear_capabilities() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return errno_error("clear the ambient capabilities");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return errno_error("clear the capabilities");
  return {};
}

core::Status verify(const Identity& identity) {
  uid_t real_uid = 0, effective_uid = 0, saved_uid = 0;
  gid_t real_gid = 0, effective_gid = 0, saved_gid = 0;
  if (::getresuid(&real_uid, &effective_uid, &saved_uid) != 0 || ::getresgid(&real_gid, &effective_gid, &saved_gid) != 0)
    return errno_error("read the ids back");
  if (real_uid != identity.uid || effective_uid != identity.uid || saved_uid != identity.uid) return failed("the user id did not change");
  if (real_gid != identity.gid || effective_gid != identity.gid || saved_gid != identity.gid) return failed("the group id did not change");
  if (::getgroups(0, nullptr) != 0) return failed("supplementary groups are left");
  for (const auto* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    if (const auto value = status_value(set); value.find_first_not_of('0') != std::string::npos || value.empty())
      return failed(fmt::format("capabilities are left: {} {}", set, value));
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return failed("no_new_privs is not set");
  if (::setresuid(0, 0, 0) == 0) return failed("root could be taken back");
  return {};
}

}  // namespace

core::Result<Identity> find_identity(const std::string& user) {
  if (user.empty()) {
    if (const passwd* entry = ::getpwnam(kSystemUser); entry != nullptr && entry->pw_uid != 0 && entry->pw_gid != 0)
      return Identity{entry->pw_uid, entry->pw_gid};
    return Identity{};
  }
  if (const auto colon = user.find(':'); colon != std::string::npos) {
    Identity identity;
    if (parse_id(std::string_view(user).substr(0, colon), identity.uid) && parse_id(std::string_view(user).substr(colon + 1), identity.gid))
      return identity;
    return core::error(core::ErrorKind::invalid, fmt::format("user: \"{}\": expected UID:GID, two whole numbers, neither of them 0", user));
  }
  const passwd* entry = ::getpwnam(user.c_str());
  if (entry == nullptr) return core::error(core::ErrorKind::invalid, fmt::format("user: there is no user \"{}\"", user));
  if (entry->pw_uid == 0 || entry->pw_gid == 0)
    return core::error(core::ErrorKind::invalid, fmt::format("user: \"{}\" is root or in root's group; name an unprivileged user", user));
  return Identity{entry->pw_uid, entry->pw_gid};
}

core::Status prepare_data_directory(const std::string& path, const Identity& owner) {
  std::error_code error;
  if (const auto parent = std::filesystem::path(path).parent_path(); !parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return failed(fmt::format("data: cannot make the directories above {}: {}", path, error.message()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return errno_error("data: cannot make " + path);
  const core::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return errno_error("data: cannot open " + path);
  const auto names = names_in(directory.get());
  if (!names) return std::unexpected(names.error());
  const auto ours = [](const std::string& name) {
    return name.starts_with(storage::kDatabaseName) || name == kFileSystemsOwn || name == kImagesDirectory;
  };
  if (const auto foreign = std::find_if_not(names->begin(), names->end(), ours); foreign != names->end())
    return failed(fmt::format("data: {} is not a data directory of Bailiff's own (it has \"{}\" in it); name an empty or a new directory",
                              path, *foreign));
  for (const auto& name : *names) {
    if (name == kFileSystemsOwn || name == kImagesDirectory) continue;
    const core::Fd file(::openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1)
      return failed(fmt::format("data: {}/{} is not a plain file", path, name));
    if (::fchown(file.get(), owner.uid, owner.gid) != 0)
      return errno_error(fmt::format("data: cannot give {}/{} to uid {}", path, name, owner.uid));
  }
  if (auto done = prepare_images_directory(directory.get(), path, owner); !done) return done;
  if (::fchown(directory.get(), owner.uid, owner.gid) != 0)
    return errno_error(fmt::format("data: cannot give {} to uid {}", path, owner.uid));
  if (::fchmod(directory.get(), 0700) != 0) return errno_error("data: cannot set the mode of " + path);
  return {};
}

core::Status drop_privileges(const Identity& identity) {
  if (identity.uid == 0 || identity.gid == 0) return failed("bailiffd does not run as root");
  ::umask(077);
  if (auto done = drop_bounding_set(); !done) return done;
  if (::setgroups(0, nullptr) != 0) return errno_error("drop the supplementary groups");
  if (::setresgid(identity.gid, identity.gid, identity.gid) != 0) return errno_error("change the group id");
  if (::setresuid(identity.uid, identity.uid, identity.uid) != 0) return errno_error("change the user id");
  if (auto done = clear_capabilities(); !done) return done;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error("set no_new_privs");
  return verify(identity);
}

core::Status check_data_directory(const std::string& path) {
  if (::access(path.c_str(), R_OK | W_OK | X_OK) == 0) return {};
  const int reason = errno;
  std::filesystem::path walked;
  for (const auto& part : std::filesystem::path(path)) {
    walked /= part;
    if (::access(walked.c_str(), X_OK) != 0 && errno == EACCES)
      return failed(
          fmt::format("data: uid {} cannot enter {}, so it cannot use {}: name a directory below one that everybody may enter, such as "
                      "/var/lib/bailiff",
                      ::getuid(), walked.string(), path));
  }
  return failed(fmt::format("data: uid {} cannot use {}: {}", ::getuid(), path, std::strerror(reason)));
}

}  // namespace bailiff::server
