#include "sandbox/tree.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace bailiff::sandbox {
namespace {

constexpr std::uint64_t kMagic = 0x3165657274'6c6962ULL;  // "bil" "tree1"
constexpr std::size_t kFlushBytes = 1 << 20;
constexpr std::size_t kMaxEntries = 1 << 20;
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

struct EntryHeader {
  std::uint32_t kind, mode;
  std::uint64_t path_bytes, data_bytes;
};

core::Result<core::Fd> new_memfd(const char* name) {
  core::Fd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return core::errno_error("memfd_create");
  return fd;
}

core::Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return core::errno_error("write to memfd");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

core::Status seal_memfd(int fd) {
  if (fcntl(fd, F_ADD_SEALS, kSeals) != 0) return core::errno_error("seal memfd");
  return {};
}

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 4095 || path.find('\0') != path.npos) return false;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == ".." || component.size() > 255) return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

TreeWriter::TreeWriter() : buffer_(reinterpret_cast<const char*>(&kMagic), sizeof kMagic) {}

TreeWriter::TreeWriter(core::Fd into) : TreeWriter() { fd_ = std::move(into); }

core::Status TreeWriter::flush_to_file() {
  if (!fd_.valid()) {
    auto fd = new_memfd("tree");
    if (!fd) return std::unexpected(fd.error());
    fd_ = std::move(*fd);
  }
  auto written = write_all(fd_.get(), buffer_);
  buffer_.clear();
  return written;
}

core::Status TreeWriter::add(const TreeEntry& entry) {
  if (!is_safe_relative_path(entry.path)) return core::error(core::ErrorKind::invalid, "unsafe path in a file tree");
  const EntryHeader header{static_cast<std::uint32_t>(entry.kind), entry.mode & 0777, entry.path.size(), entry.data.size()};
  buffer_.append(reinterpret_cast<const char*>(&header), sizeof header);
  buffer_.append(entry.path);
  if (buffer_.size() + entry.data.size() < kFlushBytes) {
    buffer_.append(entry.data);
    return {};
  }
  if (auto flushed = flush_to_file(); !flushed) return flushed;
  return write_all(fd_.get(), entry.data);
}

core::Status TreeWriter::add_file(std::string_view path, std::string_view bytes, std::uint32_t mode) {
  return add({EntryKind::file, mode, path, bytes});
}

core::Result<core::Fd> TreeWriter::finish() {
  if (auto flushed = flush_to_file(); !flushed) return std::unexpected(flushed.error());
  if (auto sealed = seal_memfd(fd_.get()); !sealed) return std::unexpected(sealed.error());
  return std::move(fd_);
}

core::Result<TreeReader> TreeReader::open(int fd) {
  const auto malformed = [] { return core::error(core::ErrorKind::invalid, "malformed file tree"); };
  // The seals make the mapping immutable, so what is checked here is what is used later, and no access can raise SIGBUS.
  if (fcntl(fd, F_GET_SEALS) != kSeals) return core::error(core::ErrorKind::invalid, "a file tree must be a sealed memfd");
  struct stat info{};
  if (fstat(fd, &info) != 0) return core::errno_error("fstat of a file tree");
  TreeReader reader;
  reader.map_bytes_ = static_cast<std::size_t>(info.st_size);
  if (reader.map_bytes_ < sizeof kMagic) return malformed();
  void* map = mmap(nullptr, reader.map_bytes_, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return core::errno_error("mmap of a file tree");
  reader.map_ = map;
  std::string_view rest(static_cast<const char*>(map), reader.map_bytes_);
  if (std::memcmp(rest.data(), &kMagic, sizeof kMagic) != 0) return malformed();
  rest.remove_prefix(sizeof kMagic);
  while (!rest.empty()) {
    EntryHeader header{};
    if (rest.size() < sizeof header || reader.entries_.size() >= kMaxEntries) return malformed();
    std::memcpy(&header, rest.data(), sizeof header);
    rest.remove_prefix(sizeof header);
    if (header.path_bytes > rest.size() || header.data_bytes > rest.size() - header.path_bytes) return malformed();
    const TreeEntry entry{static_cast<EntryKind>(header.kind), header.mode & 0777, rest.substr(0, header.path_bytes),
                          rest.substr(header.path_bytes, header.data_bytes)};
    const bool known = header.kind >= 1 && header.kind <= 3;
    if (!known || !is_safe_relative_path(entry.path)) return malformed();
    reader.entries_.push_back(entry);
    rest.remove_prefix(header.path_bytes + header.data_bytes);
  }
  return reader;
}

TreeReader::TreeReader(TreeReader&& other) noexcept
    : map_(std::exchange(other.map_, nullptr)), map_bytes_(std::exchange(other.map_bytes_, 0)), entries_(std::move(other.entries_)) {}

TreeReader::~TreeReader() {
  if (map_ != nullptr) munmap(map_, map_bytes_);
}

core::Result<core::Fd> sealed_memfd(std::string_view bytes) {
  auto fd = new_memfd("stdin");
  if (!fd) return fd;
  if (auto written = write_all(fd->get(), bytes); !written) return std::unexpected(written.error());
  if (auto sealed = seal_memfd(fd->get()); !sealed) return std::unexpected(sealed.error());
  return fd;
}

core::Result<core::Fd> output_memfd() { return new_memfd("output"); }

core::Result<std::string> read_all(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return core::errno_error("fstat of a memfd");
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = pread(fd, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return core::errno_error("read of a memfd");
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace bailiff::sandbox
