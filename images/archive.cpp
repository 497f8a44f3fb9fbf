#include "images/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace bailiff::images {
namespace {

constexpr std::string_view kWhiteout = ".wh.", kOpaque = ".wh..wh..opq", kPrivate = ".wh..wh.";
constexpr std::uint64_t kBytesBetweenLooks = 32 << 20;  // at the free space of the disk

using ArchiveHandle = std::unique_ptr<archive, decltype(&archive_read_free)>;

std::unexpected<core::Error> refused(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

/// Where libarchive gets its bytes from, and how many it got.
struct Input {
  const ArchiveSource& source;
  Spool& spool;
  std::uint64_t taken = 0;  // where the next read begins
  std::vector<char> piece = std::vector<char>(kPieceBytes);

  la_int64_t seek(la_int64_t offset, int whence) {
    const auto base = whence == SEEK_CUR ? taken : whence == SEEK_END ? source.range.size : 0;
    const auto target = static_cast<la_int64_t>(base) + offset;
    if (target < 0 || static_cast<std::uint64_t>(target) > source.range.size) return ARCHIVE_FATAL;
    taken = static_cast<std::uint64_t>(target);
    return target;
  }

  la_ssize_t read(archive* reader) {
    ssize_t got = -1;
    do {
      if (source.is_stream) {
        got = ::read(source.fd, piece.data(), piece.size());
      } else {
        const auto left = std::min<std::uint64_t>(piece.size(), source.range.size - taken);
        got = left == 0 ? 0 : ::pread(source.fd, piece.data(), left, static_cast<off_t>(source.range.offset + taken));
      }
    } while (got < 0 && errno == EINTR);
    if (got < 0) archive_set_error(reader, errno, "cannot read the archive");
    const auto count = got > 0 ? static_cast<std::uint64_t>(got) : 0;
    taken += count;
    if (source.fd != spool.fd()) spool.count_input(count);
    return got;
  }
};

class ArchiveReader {
 public:
  ArchiveReader(const ArchiveSource& source, ArchiveKind kind, unsigned layer, Spool& spool, FileTree& tree)
      : input_{source, spool}, kind_(kind), layer_(layer), spool_(spool), tree_(tree), reader_(archive_read_new(), &archive_read_free) {}

  core::Status run() {
    archive* reader = reader_.get();
    if (reader == nullptr) return core::error(core::ErrorKind::internal, "no memory for an archive reader");
    archive_read_support_format_tar(reader);
    // The filters that are part of the library; none that starts a program.
    archive_read_support_filter_gzip(reader);
    archive_read_support_filter_bzip2(reader);
    archive_read_support_filter_xz(reader);
    archive_read_support_filter_zstd(reader);
    const auto read = [](archive* from, void* input, const void** bytes) -> la_ssize_t {
      *bytes = static_cast<Input*>(input)->piece.data();
      return static_cast<Input*>(input)->read(from);
    };
    if (kind_ == ArchiveKind::workspace) {
      const auto seek = [](archive*, void* input, la_int64_t offset, int whence) -> la_int64_t {
        return static_cast<Input*>(input)->seek(offset, whence);
      };
      // By its directory at the end, which alone has permissions.
      archive_read_support_format_zip_seekable(reader);
      archive_read_set_seek_callback(reader, seek);
    }
    if (archive_read_open(reader, &input_, nullptr, read, nullptr) != ARCHIVE_OK)
      return broken(kind_ == ArchiveKind::workspace ? "is neither a tar archive nor a zip file" : "is no tar archive");
    archive_entry* entry = nullptr;
    while (true) {
      const int status = archive_read_next_header(reader, &entry);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
        return broken(kind_ == ArchiveKind::workspace ? "is damaged, or neither tar nor zip" : "is damaged or no tar archive");
      if (auto counted = spool_.count_entry(); !counted) return counted;
      if (auto counted = count_output(); !counted) return counted;
      if (auto added = add(entry); !added) return added;
      // libarchive would read what is left of the entry by itself, and nobody would count it.
      if (auto skipped = skip_data(); !skipped) return skipped;
    }
    if (auto counted = count_output(); !counted) return counted;
    // An archive without one entry is an empty tree only where it is really empty: a file of noise is not.
    if (archive_format(reader) == 0)
      return refused(kind_ == ArchiveKind::workspace ? "it is neither a tar archive nor a zip file" : "it is no tar archive");
    return {};
  }

 private:
  std::unexpected<core::Error> broken(const char* otherwise) {
    const char* said = archive_error_string(reader_.get());
    return refused(fmt::format("the archive {} ({})", otherwise, said == nullptr ? "no reason given" : said));
  }
  static std::unexpected<core::Error> refused_entry(std::string_view path, std::string_view why) {
    return refused(fmt::format("\"{}\" {}", path.substr(0, 200), why));
  }

  core::Status add(archive_entry* entry) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) return refused("an entry's name cannot be read");
    const std::string path = name;
    auto names = safe_names(path);
    if (!names) return std::unexpected(std::move(names.error()));
    if (kind_ != ArchiveKind::workspace && !names->empty() && names->front() == "dev") return {};
    if (kind_ == ArchiveKind::layer && !names->empty() && names->back().starts_with(kWhiteout)) return whiteout(path, names->back());
    const bool has_data = archive_entry_size_is_set(entry) != 0 && archive_entry_size(entry) > 0;
    if (const char* target = archive_entry_hardlink(entry))
      return has_data ? refused_entry(path, "is a link with data of its own") : tree_.link(path, target, layer_);
    if (has_data && archive_entry_filetype(entry) == AE_IFDIR) return refused_entry(path, "is a directory with data of its own");
    auto node = std::make_shared<FileNode>();
    node->layer = layer_;
    node->mtime_s = archive_entry_mtime_is_set(entry) != 0 ? archive_entry_mtime(entry) : 0;
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR: break;
      case AE_IFLNK: {
        const char* target = archive_entry_symlink(entry);
        node->kind = FileNode::Kind::symlink;
        node->target = target == nullptr ? "" : target;
        if (node->target.empty() || node->target.size() > kMaxPathBytes)
          return refused_entry(path, "is a symbolic link to nothing sensible");
        break;
      }
      case AE_IFREG: {
        node->kind = FileNode::Kind::file;
        node->executable = (archive_entry_perm(entry) & 0111) != 0;
        auto data = read_data(path, entry);
        if (!data) return std::unexpected(std::move(data.error()));
        node->data = *data;
        break;
      }
      case AE_IFCHR:
      case AE_IFBLK: return refused_entry(path, "is a device");
      case AE_IFIFO: return refused_entry(path, "is a FIFO");
      case AE_IFSOCK: return refused_entry(path, "is a socket");
      default: return refused_entry(path, "is of an unknown kind");
    }
    return tree_.add(path, std::move(node));
  }

  core::Status whiteout(const std::string& path, std::string_view name) {
    const std::string directory = path.substr(0, path.rfind(name));
    if (name == kOpaque) return tree_.clear(directory.empty() ? "." : directory, layer_);
    if (name.starts_with(kPrivate)) return {};  // what AUFS kept for itself
    if (name.size() == kWhiteout.size()) return refused_entry(path, "is a whiteout of nothing");
    return tree_.remove(directory + std::string(name.substr(kWhiteout.size())), layer_);
  }

  core::Result<Extent> read_data(const std::string& path, archive_entry* entry) {
    const std::uint64_t told = archive_entry_size_is_set(entry) != 0 ? static_cast<std::uint64_t>(archive_entry_size(entry)) : 0;
    std::uint64_t size = 0;
    while (true) {
      const void* bytes = nullptr;
      std::size_t count = 0;
      la_int64_t offset = 0;
      const int status = archive_read_data_block(reader_.get(), &bytes, &count, &offset);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return broken("ends too early or is damaged");
      if (offset < 0) return refused_entry(path, "has bytes before its beginning");
      if (auto put = spool_.put({static_cast<const char*>(bytes), count}, static_cast<std::uint64_t>(offset)); !put)
        return std::unexpected(std::move(put.error()));
      size = std::max(size, static_cast<std::uint64_t>(offset) + count);
      if (auto fair = spool_.check_ratio(spool_.end() + size); !fair) return std::unexpected(std::move(fair.error()));
      if (auto counted = count_output(); !counted) return std::unexpected(std::move(counted.error()));
    }
    size = std::max(size, told);
    if (auto fair = spool_.check_ratio(spool_.end() + size); !fair) return std::unexpected(std::move(fair.error()));
    return spool_.close(size);
  }

  /// Reads what is left of an entry that is not stored, or not with its data.
  core::Status skip_data() {
    while (true) {
      const void* bytes = nullptr;
      std::size_t count = 0;
      la_int64_t offset = 0;
      const int status = archive_read_data_block(reader_.get(), &bytes, &count, &offset);
      if (status == ARCHIVE_EOF) return {};
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return broken("ends too early or is damaged");
      if (auto counted = spool_.count_skipped(count); !counted) return counted;
      if (auto counted = count_output(); !counted) return counted;
    }
  }

  /// Everything that the filters made since it was last asked: headers, data and padding.
  core::Status count_output() {
    const auto made = static_cast<std::uint64_t>(std::max<la_int64_t>(archive_filter_bytes(reader_.get(), 0), 0));
    const std::uint64_t before = std::exchange(filtered_, std::max(filtered_, made));
    return spool_.count_output(filtered_ - before);
  }

  Input input_;
  ArchiveKind kind_;
  unsigned layer_;
  Spool& spool_;
  FileTree& tree_;
  std::uint64_t filtered_ = 0;  // bytes out of the filters so far
  ArchiveHandle reader_;
};

}  // namespace

core::Status Spool::put(std::string_view bytes, std::uint64_t offset) {
  if (offset > bounds_.bytes || end_ + skipped_ + offset + bytes.size() > bounds_.bytes)
    return refused(fmt::format("there are more than {} bytes in it", bounds_.bytes));
  unchecked_ += bytes.size();
  if (unchecked_ >= kBytesBetweenLooks) {
    if (auto room = check_disk(fd_, unchecked_, bounds_.disk_floor_bytes); !room) return room;
    unchecked_ = 0;
  }
  return write_at(fd_, bytes, end_ + offset);
}

core::Result<Extent> Spool::close(std::uint64_t size) {
  if (size > bounds_.bytes || end_ + skipped_ + size > bounds_.bytes)
    return refused(fmt::format("there are more than {} bytes in it", bounds_.bytes));
  const Extent extent{end_, size};
  end_ += size;
  // A hole at the end is part of the file too.
  if (::ftruncate(fd_, static_cast<off_t>(end_)) != 0) return core::errno_error("write");
  return extent;
}

core::Status Spool::count_output(std::uint64_t bytes) {
  output_ += bytes;
  return check_ratio(output_);
}

core::Status Spool::count_skipped(std::uint64_t bytes) {
  skipped_ += bytes;
  if (end_ + skipped_ > bounds_.bytes) return refused(fmt::format("there are more than {} bytes in it", bounds_.bytes));
  return check_ratio(end_ + skipped_);
}

core::Status Spool::check_ratio(std::uint64_t made) const {
  if (made <= bounds_.free_bytes || made / bounds_.ratio <= input_) return {};
  return refused(fmt::format("the archive is a bomb: {} bytes of it made more than {} bytes", input_, made));
}

core::Status Spool::count_entry() {
  if (++entries_ > bounds_.entries) return refused(fmt::format("there are more than {} entries in it", bounds_.entries));
  return {};
}

core::Status read_archive(const ArchiveSource& source, ArchiveKind kind, unsigned layer, Spool& spool, FileTree& tree) {
  return ArchiveReader(source, kind, layer, spool, tree).run();
}

}  // namespace bailiff::images
