// Layout: superblock in block 0, behind it the inodes in the order of a walk of the tree, each with the last part of its data where
// that is small; then, from a block of their own on, the data of everything else.
#include "images/erofs.h"

#include <endian.h>
#include <sys/stat.h>

#include <bit>
#include <cstring>
#include <map>

namespace bailiff::images {
namespace {

static_assert(std::endian::native == std::endian::little, "the structures are written as they stand in memory");

constexpr std::uint64_t kBlockBytes = 4096, kSlotBytes = 32, kSuperblockOffset = 1024;
constexpr std::uint64_t kMostInlineBytes = 1024;  // a longer tail gets a block, for inodes that do not fit into the rest of one waste it
enum FileType : std::uint8_t { kRegular = 1, kDirectory = 2, kSymlink = 7 };
enum Layout : std::uint16_t { kFlatPlain = 0, kFlatInline = 2 };

struct [[gnu::packed]] Superblock {
  std::uint32_t magic = 0xE0F5E1E2, checksum = 0, feature_compat = 0;
  std::uint8_t block_bits = 12, extension_slots = 0;
  std::uint16_t root_nid = 0;
  std::uint64_t inodes = 0, build_time = 0;
  std::uint32_t build_time_nsec = 0, blocks = 0, meta_block = 0, xattr_block = 0;
  std::uint8_t uuid[16] = {}, volume_name[16] = {};
  std::uint32_t feature_incompat = 0;
  std::uint8_t rest[44] = {};
};
static_assert(sizeof(Superblock) == 128);

struct [[gnu::packed]] Inode {  // the extended form, for it has a time of its own
  std::uint16_t format = 0, xattr_count = 0, mode = 0, reserved = 0;
  std::uint64_t size = 0;
  std::uint32_t data_block = 0, number = 0, uid = 0, gid = 0;
  std::uint64_t mtime_s = 0;
  std::uint32_t mtime_ns = 0, links = 0;
  std::uint8_t rest[16] = {};
};
static_assert(sizeof(Inode) == 64);

struct [[gnu::packed]] DirectoryEntry {
  std::uint64_t nid = 0;
  std::uint16_t name_offset = 0;
  std::uint8_t type = 0, reserved = 0;
};
static_assert(sizeof(DirectoryEntry) == 12);

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

struct Placed {
  const FileNode* node = nullptr;
  const FileNode* parent = nullptr;
  std::uint64_t offset = 0;      // of the inode
  std::uint64_t size = 0;        // of the data
  std::uint64_t inline_bytes = 0;
  std::uint64_t data_block = 0;  // of what is not inline
  std::uint32_t links = 0;
  bool is_copy = false;          // its blocks are another's
};

struct SharedExtent {
  std::size_t users = 0;         // nodes
  std::uint64_t data_block = 0;  // 0: none yet
};

FileType type_of(const FileNode& node) {
  if (node.kind == FileNode::Kind::directory) return kDirectory;
  return node.kind == FileNode::Kind::symlink ? kSymlink : kRegular;
}

std::uint16_t mode_of(const FileNode& node) {
  if (node.kind == FileNode::Kind::directory) return S_IFDIR | 0755;
  if (node.kind == FileNode::Kind::symlink) return S_IFLNK | 0777;
  return S_IFREG | (node.executable ? 0755 : 0644);
}

class ErofsWriter {
 public:
  ErofsWriter(const FileTree& tree, const Spool& spool, int out) : root_(tree.root()), spool_(spool), out_(out) {}

  core::Result<std::uint64_t> run() {
    collect(root_, root_);
    place();
    if (auto room = check_size(); !room) return std::unexpected(std::move(room.error()));
    if (auto written = write_metadata(); !written) return std::unexpected(std::move(written.error()));
    for (const Placed& placed : all_)
      if (auto written = write_data(placed); !written) return std::unexpected(std::move(written.error()));
    if (::ftruncate(out_, static_cast<off_t>(blocks_ * kBlockBytes)) != 0) return core::errno_error("write the image");
    return blocks_ * kBlockBytes;
  }

 private:
  [[nodiscard]] core::Status check_size() const {
    const auto& bounds = spool_.bounds();
    if (blocks_ > UINT32_MAX || blocks_ > bounds.bytes / kBlockBytes + 1)
      return core::error(core::ErrorKind::invalid, "the image would have more than " + std::to_string(bounds.bytes) + " bytes");
    if (auto fair = spool_.check_ratio(blocks_ * kBlockBytes); !fair) return fair;
    return check_disk(out_, blocks_ * kBlockBytes, bounds.disk_floor_bytes);
  }

  /// Every node once, parents before children, names in byte order.
  void collect(const FileNode& node, const FileNode& parent) {
    const auto [known, added] = index_.emplace(&node, all_.size());
    if (!added) {
      ++all_[known->second].links;
      return;
    }
    Placed placed;
    placed.node = &node;
    placed.parent = &parent;
    placed.links = 1;
    placed.size = node.kind == FileNode::Kind::file ? node.data.size : node.target.size();
    if (node.kind == FileNode::Kind::directory) {
      placed.links = 2;
      placed.size = directory_size(node);
      for (const auto& [name, child] : node.children) placed.links += child->kind == FileNode::Kind::directory;
    }
    if (node.kind == FileNode::Kind::file) ++extents_[key_of(node)].users;
    all_.push_back(placed);
    for (const auto& [name, child] : node.children) collect(*child, node);
  }

  /// Names of a directory, with "." and "..", in the order in which they are stored.
  static std::map<std::string_view, const FileNode*> names_of(const FileNode& node, const FileNode& parent) {
    std::map<std::string_view, const FileNode*> names = {{".", &node}, {"..", &parent}};
    for (const auto& [name, child] : node.children) names.emplace(name, child.get());
    return names;
  }

  /// Bytes of a directory: whole blocks, and as much of the last one as is used.
  static std::uint64_t directory_size(const FileNode& node) {
    std::uint64_t blocks = 0, used = 0;
    for (const auto& [name, child] : names_of(node, node)) {
      const std::uint64_t needed = sizeof(DirectoryEntry) + name.size();
      if (used + needed > kBlockBytes) {
        ++blocks;
        used = 0;
      }
      used += needed;
    }
    return blocks * kBlockBytes + used;
  }

  void place() {
    std::uint64_t offset = kSuperblockOffset + sizeof(Superblock);
    for (Placed& placed : all_) {
      const std::uint64_t tail = placed.size % kBlockBytes;
      placed.inline_bytes = tail <= kMostInlineBytes && !has_shared_blocks(placed) ? tail : 0;
      // Neither an inode nor its tail may lie across the end of a block.
      if (offset % kBlockBytes + sizeof(Inode) + placed.inline_bytes > kBlockBytes) offset = round_up(offset, kBlockBytes);
      placed.offset = offset;
      offset = round_up(offset + sizeof(Inode) + placed.inline_bytes, kSlotBytes);
    }
    metadata_bytes_ = round_up(offset, kBlockBytes);
    blocks_ = metadata_bytes_ / kBlockBytes;
    for (Placed& placed : all_) {
      if (has_shared_blocks(placed)) {
        auto& extent = extents_.at(key_of(*placed.node));
        placed.is_copy = extent.data_block != 0;
        if (placed.is_copy) placed.data_block = extent.data_block;
        if (placed.is_copy) continue;
        extent.data_block = blocks_;
      }
      placed.data_block = blocks_;
      blocks_ += round_up(placed.size - placed.inline_bytes, kBlockBytes) / kBlockBytes;
    }
  }

  static std::pair<std::uint64_t, std::uint64_t> key_of(const FileNode& node) { return {node.data.offset, node.data.size}; }
  /// A file that a later layer links to is a node of its own with the same extent: however many there are, its blocks stand there once.
  /// What fits behind its inode is cheaper there.
  [[nodiscard]] bool has_shared_blocks(const Placed& placed) const {
    return placed.node->kind == FileNode::Kind::file && placed.size > kMostInlineBytes && extents_.at(key_of(*placed.node)).users > 1;
  }

  [[nodiscard]] static std::uint64_t nid_of(const Placed& placed) { return placed.offset / kSlotBytes; }

  core::Status write_metadata() {
    std::string metadata(metadata_bytes_, '\0');
    Superblock superblock;
    superblock.root_nid = static_cast<std::uint16_t>(nid_of(all_.front()));
    superblock.inodes = all_.size();
    superblock.blocks = static_cast<std::uint32_t>(blocks_);
    std::memcpy(metadata.data() + kSuperblockOffset, &superblock, sizeof superblock);
    std::uint32_t number = 0;
    for (const Placed& placed : all_) {
      const FileNode& node = *placed.node;
      Inode inode;
      inode.format = static_cast<std::uint16_t>(1 | (placed.inline_bytes > 0 ? kFlatInline : kFlatPlain) << 1);
      inode.mode = mode_of(node);
      inode.size = placed.size;
      inode.data_block = static_cast<std::uint32_t>(placed.data_block);
      inode.number = ++number;
      inode.mtime_s = static_cast<std::uint64_t>(node.mtime_s);
      inode.links = placed.links;
      std::memcpy(metadata.data() + placed.offset, &inode, sizeof inode);
      if (placed.inline_bytes == 0) continue;
      auto data = data_of(placed, placed.size - placed.inline_bytes, placed.inline_bytes);
      if (!data) return std::unexpected(std::move(data.error()));
      std::memcpy(metadata.data() + placed.offset + sizeof inode, data->data(), data->size());
    }
    return write_at(out_, metadata, 0);
  }

  /// Bytes [offset, offset + size) of a node's data.
  core::Result<std::string> data_of(const Placed& placed, std::uint64_t offset, std::uint64_t size) {
    const FileNode& node = *placed.node;
    if (node.kind == FileNode::Kind::symlink) return node.target.substr(offset, size);
    if (node.kind == FileNode::Kind::directory) return directory_bytes(placed).substr(offset, size);
    return read_whole(spool_.fd(), {node.data.offset + offset, size}, size);
  }

  std::string directory_bytes(const Placed& placed) const {
    const auto names = names_of(*placed.node, *placed.parent);
    std::string bytes;
    for (auto first = names.begin(); first != names.end();) {
      // As many as fit into one block: first their entries, then their names.
      std::size_t used = 0;
      auto last = first;
      std::uint16_t count = 0;
      for (; last != names.end() && used + sizeof(DirectoryEntry) + last->first.size() <= kBlockBytes; ++last, ++count)
        used += sizeof(DirectoryEntry) + last->first.size();
      std::string entries, texts;
      for (auto entry = first; entry != last; ++entry) {
        const Placed& child = all_[index_.at(entry->second)];
        const DirectoryEntry written{nid_of(child), static_cast<std::uint16_t>(count * sizeof(DirectoryEntry) + texts.size()),
                                     type_of(*entry->second), 0};
        entries.append(reinterpret_cast<const char*>(&written), sizeof written);
        texts += entry->first;
      }
      bytes += entries + texts;
      first = last;
      if (first != names.end()) bytes.resize(round_up(bytes.size(), kBlockBytes));
    }
    return bytes;
  }

  core::Status write_data(const Placed& placed) {
    const std::uint64_t size = placed.size - placed.inline_bytes;
    if (size == 0 || placed.is_copy) return {};
    std::uint64_t at = placed.data_block * kBlockBytes;
    if (placed.node->kind == FileNode::Kind::file)
      return read_extent(spool_.fd(), {placed.node->data.offset, size}, [&](std::string_view piece) -> core::Status {
        auto written = write_at(out_, piece, at);
        at += piece.size();
        return written;
      });
    auto data = data_of(placed, 0, size);
    return data ? write_at(out_, *data, at) : std::unexpected(std::move(data.error()));
  }

  const FileNode& root_;
  const Spool& spool_;
  int out_;
  std::vector<Placed> all_;
  std::map<const FileNode*, std::size_t> index_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, SharedExtent> extents_;  // by offset and size
  std::uint64_t metadata_bytes_ = 0, blocks_ = 0;
};

}  // namespace

core::Result<std::uint64_t> write_erofs(const FileTree& tree, const Spool& spool, int out) { return ErofsWriter(tree, spool, out).run(); }

}  // namespace bailiff::images
