// The image `host` is whatever this machine has installed, so its digest is taken over the records of that, not over /usr's bytes.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "images/catalogue.h"
#include "images/sha256.h"

namespace bailiff::images {
namespace {

/// True when the file could be read to its end. Name and end are marked, so that two files never read as one.
bool add_file(Sha256& hash, const std::string& root, const char* path) {
  std::ifstream stream(root + path, std::ios::binary);
  if (!stream) return false;
  hash.add(fmt::format("file {}\n", path));
  std::array<char, 64 * core::kKiB> chunk{};
  std::uint64_t total = 0;
  while (stream.read(chunk.data(), chunk.size()), stream.gcount() > 0) {
    hash.add({chunk.data(), static_cast<std::size_t>(stream.gcount())});
    total += static_cast<std::uint64_t>(stream.gcount());
  }
  hash.add(fmt::format("\nend {}\n", total));
  return !stream.bad();
}

/// No package manager tells about /usr/local, so its entries' names, sizes and times stand for it.
void add_listing(Sha256& hash, const std::string& root, const char* directory) {
  std::vector<std::string> lines;
  std::error_code code;
  for (std::filesystem::directory_iterator entry(root + directory, code), end; !code && entry != end; entry.increment(code)) {
    struct stat status{};
    if (::lstat(entry->path().c_str(), &status) != 0) continue;
    lines.push_back(
        fmt::format("{} {} {}.{}", entry->path().filename().string(), status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec));
  }
  std::ranges::sort(lines);
  hash.add(fmt::format("directory {}\n{}\n", directory, fmt::join(lines, "\n")));
}

}  // namespace

core::Result<Image> host_image(const std::string& root) {
  Sha256 hash;
  struct utsname machine{};
  if (::uname(&machine) != 0) return core::errno_error("uname");
  hash.add(fmt::format("machine {}\n", machine.machine));
  bool identified = false;
  for (const char* path : {"/etc/os-release", "/var/lib/dpkg/status", "/lib/apk/db/installed", "/var/lib/rpm/rpmdb.sqlite",
                           "/usr/lib/sysimage/rpm/rpmdb.sqlite"})
    identified = add_file(hash, root, path) || identified;
  if (!identified)
    return core::error(core::ErrorKind::not_found, "host image: neither /etc/os-release nor a package manager's list can be read");
  for (const char* directory : {"/usr/local", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib"}) add_listing(hash, root, directory);
  const auto hex = hash.finish();
  if (!hex) return core::error(core::ErrorKind::internal, "host image: OpenSSL cannot compute SHA-256");
  return Image{"host", "sha256:" + *hex, "host", ""};
}

}  // namespace bailiff::images
