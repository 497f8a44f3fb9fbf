#include "images/file_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace bailiff::images {
namespace {

constexpr int kMaxLinksFollowed = 40;

using Node = std::shared_ptr<FileNode>;

std::unexpected<core::Error> refused(std::string_view path, std::string_view why) {
  return core::error(core::ErrorKind::invalid, fmt::format("\"{}\": {}", path.substr(0, 200), why));
}

/// True when nothing of `node` is of `layer` or later, so that nothing of it stays.
bool prune(FileNode& node, unsigned layer) {
  std::erase_if(node.children, [&](const auto& child) { return prune(*child.second, layer); });
  return node.layer < layer && node.children.empty();
}

/// Walks from the root: symlinks are followed as a process would whose root this is. Null, with `why`, where that leads nowhere.
class Walk {
 public:
  Walk(Node root, unsigned layer, bool make) : place_{std::move(root)}, layer_(layer), make_(make) {}

  Node along(std::deque<std::string> names) {
    for (int followed = 0; !names.empty();) {
      const std::string name = std::move(names.front());
      names.pop_front();
      if (name == "..") {
        if (place_.size() == 1) return fail("leads out of the image");
        place_.pop_back();
        continue;
      }
      FileNode& here = *place_.back();
      if (here.kind != FileNode::Kind::directory) return fail("leads through something that is no directory");
      auto found = here.children.find(name);
      if (found == here.children.end()) {
        if (!make_) return fail("is not there");
        auto made = std::make_shared<FileNode>();
        made->layer = layer_;
        found = here.children.emplace(name, std::move(made)).first;
      }
      const Node next = found->second;
      if (next->kind != FileNode::Kind::symlink) {
        if (place_.size() > kMaxDepth) return fail("is too deep");
        place_.push_back(next);
        continue;
      }
      if (++followed > kMaxLinksFollowed) return fail("leads through too many symbolic links");
      if (next->target.starts_with('/')) place_.resize(1);
      push_target(next->target, names);
    }
    return place_.back();
  }
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  Node fail(const char* why) {
    why_ = why;
    return nullptr;
  }
  static void push_target(std::string_view target, std::deque<std::string>& names) {
    std::vector<std::string> parts;
    for (std::size_t start = 0; start < target.size();) {
      const std::size_t end = std::min(target.find('/', start), target.size());
      const auto part = target.substr(start, end - start);
      if (!part.empty() && part != ".") parts.emplace_back(part);
      start = end + 1;
    }
    names.insert(names.begin(), parts.begin(), parts.end());
  }

  std::vector<Node> place_;  // from the root to where we are
  unsigned layer_;
  bool make_;
  std::string why_;
};

}  // namespace

core::Result<std::vector<std::string_view>> safe_names(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return refused(path, fmt::format("a name has 1 to {} bytes", kMaxPathBytes));
  if (path.starts_with('/')) return refused(path, "absolute names are refused");
  if (path.contains('\0')) return refused(path, "a name with a NUL byte is refused");
  std::vector<std::string_view> names;
  for (std::size_t start = 0; start < path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const auto name = path.substr(start, end - start);
    if (name == "..") return refused(path, "names with \"..\" are refused");
    if (name.size() > kMaxNameBytes) return refused(path, fmt::format("a part of it is longer than {} bytes", kMaxNameBytes));
    if (!name.empty() && name != ".") names.push_back(name);
    start = end + 1;
  }
  if (names.size() > kMaxDepth) return refused(path, fmt::format("is deeper than {} directories", kMaxDepth));
  return names;
}

core::Result<Node> FileTree::directory(const std::vector<std::string_view>& names, unsigned layer, bool make) {
  Walk walk(root_, layer, make);
  Node found = walk.along({names.begin(), names.end()});
  if (!found) return core::error(core::ErrorKind::invalid, walk.why());
  if (found->kind != FileNode::Kind::directory)
    return core::error(core::ErrorKind::invalid, "leads through something that is no directory");
  return found;
}

core::Status FileTree::add(std::string_view path, Node node) {
  auto names = safe_names(path);
  if (!names) return std::unexpected(std::move(names.error()));
  const bool is_directory = node->kind == FileNode::Kind::directory;
  if (names->empty()) {  // the root itself
    if (!is_directory) return refused(path, "the root of an image is a directory");
    root_->mtime_s = node->mtime_s;
    return {};
  }
  const std::string name(names->back());
  names->pop_back();
  auto parent = directory(*names, node->layer, true);
  if (!parent) return refused(path, parent.error().what);
  Node& place = (*parent)->children[name];
  if (place && is_directory && place->kind == FileNode::Kind::directory) {
    place->mtime_s = node->mtime_s;
    place->layer = node->layer;
    return {};
  }
  place = std::move(node);
  return {};
}

core::Status FileTree::link(std::string_view path, std::string_view target, unsigned layer) {
  auto names = safe_names(target);
  if (!names) return refused(path, "is a link to an unsafe name: " + names.error().what);
  if (names->empty()) return refused(path, "is a hard link to a directory");
  const auto last = names->back();
  names->pop_back();
  const auto parent = directory(*names, layer, false);
  if (!parent) return refused(path, fmt::format("is a link to \"{}\", which {}", target.substr(0, 200), parent.error().what));
  const auto found = (*parent)->children.find(last);
  if (found == (*parent)->children.end())
    return refused(path, fmt::format("is a link to \"{}\", which is not there", target.substr(0, 200)));
  if (found->second->kind == FileNode::Kind::directory) return refused(path, "is a hard link to a directory");
  Node node = found->second;
  if (node->layer < layer) {  // a name of its own, which a later whiteout of the old one leaves alone
    node = std::make_shared<FileNode>(*node);
    node->layer = layer;
  }
  return add(path, std::move(node));
}

core::Status FileTree::remove(std::string_view path, unsigned layer) {
  auto names = safe_names(path);
  if (!names) return std::unexpected(std::move(names.error()));
  if (names->empty()) return refused(path, "the root of an image cannot be removed");
  const auto last = names->back();
  names->pop_back();
  auto parent = directory(*names, layer, false);
  if (!parent) return {};
  const auto found = (*parent)->children.find(last);
  if (found != (*parent)->children.end() && prune(*found->second, layer)) (*parent)->children.erase(found);
  return {};
}

core::Status FileTree::clear(std::string_view path, unsigned layer) {
  auto names = safe_names(path);
  if (!names) return std::unexpected(std::move(names.error()));
  auto found = directory(*names, layer, false);
  if (found) std::erase_if((*found)->children, [&](const auto& child) { return prune(*child.second, layer); });
  return {};
}

Node FileTree::find(std::string_view path) const {
  auto names = safe_names(path);
  if (!names) return nullptr;
  return Walk(root_, 0, false).along({names->begin(), names->end()});
}

}  // namespace bailiff::images
