#include "sandbox/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace bailiff::sandbox {
namespace {

int make_parents(int root, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    if (mkdirat(root, path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return errno;
  return 0;
}

int write_file(int root, const std::string& path, const TreeEntry& entry) {
  const core::Fd file(openat(root, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return errno;
  for (std::string_view rest = entry.data; !rest.empty();) {
    const ssize_t n = write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return fchmod(file.get(), entry.mode) == 0 ? 0 : errno;
}

int make_entry(int root, const std::string& path, const TreeEntry& entry) {
  switch (entry.kind) {
    case EntryKind::directory:
      if (mkdirat(root, path.c_str(), entry.mode | 0700) != 0 && errno != EEXIST) return errno;
      return 0;
    case EntryKind::symlink:
      (void)unlinkat(root, path.c_str(), 0);
      return symlinkat(std::string(entry.data).c_str(), root, path.c_str()) == 0 ? 0 : errno;
    case EntryKind::file: (void)unlinkat(root, path.c_str(), 0); return write_file(root, path, entry);
  }
  return EINVAL;
}

}  // namespace

int unpack_tree(int root, const TreeReader& tree) {
  for (const auto& entry : tree.entries()) {
    const std::string path(entry.path);
    int fault = make_entry(root, path, entry);
    if (fault == ENOENT) {
      if (fault = make_parents(root, path); fault == 0) fault = make_entry(root, path, entry);
    }
    if (fault != 0) return fault;
  }
  return 0;
}

}  // namespace bailiff::sandbox
