#include "images/essentials.h"

#include <limits>

namespace bailiff::images {
namespace {

constexpr unsigned kLast = std::numeric_limits<unsigned>::max();  // over every layer

core::Status put_file(FileTree& tree, Spool& spool, const std::string& path, std::string_view text) {
  if (auto put = spool.put(text, 0); !put) return put;
  auto extent = spool.close(text.size());
  if (!extent) return std::unexpected(std::move(extent.error()));
  auto node = std::make_shared<FileNode>();
  node->kind = FileNode::Kind::file;
  node->data = *extent;
  node->layer = kLast;
  return tree.add(path, std::move(node));
}

/// Whether a line of passwd or group has this number in its third field.
bool has_id(std::string_view text, std::string_view id) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    const auto name_end = line.find(':');
    const auto password_end = name_end == line.npos ? line.npos : line.find(':', name_end + 1);
    if (password_end != line.npos && line.substr(password_end + 1, line.find(':', password_end + 1) - password_end - 1) == id) return true;
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return false;
}

core::Status add_account(FileTree& tree, Spool& spool, const std::string& path, std::string_view first_lines, std::string_view line) {
  std::string text(first_lines);
  if (const auto node = tree.find(path); node && node->kind == FileNode::Kind::file) {
    auto had = read_whole(spool.fd(), node->data, spool.bounds().document_bytes);
    if (!had) return std::unexpected(std::move(had.error()));
    text = std::move(*had);
  }
  if (has_id(text, "1000")) return {};
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  return put_file(tree, spool, path, text + std::string(line));
}

}  // namespace

core::Status add_essentials(FileTree& tree, Spool& spool) {
  const std::pair<const char*, const char*> files[] = {
      {"etc/hosts", "127.0.0.1 localhost bailiff\n::1 localhost bailiff\n"}, {"etc/hostname", "bailiff\n"}, {"etc/resolv.conf", ""}};
  for (const auto& [path, text] : files)
    if (auto put = put_file(tree, spool, path, text); !put) return put;
  if (auto removed = tree.remove("etc/machine-id", kLast); !removed) return removed;
  if (auto added =
          add_account(tree, spool, "etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\n", "runner:x:1000:1000:runner:/tmp:/bin/sh\n");
      !added)
    return added;
  return add_account(tree, spool, "etc/group", "root:x:0:\n", "runner:x:1000:\n");
}

}  // namespace bailiff::images
