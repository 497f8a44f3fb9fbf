#include "images/oci.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/json/json.h"
#include "images/sha256.h"

namespace bailiff::images {
namespace {

using core::Json;

constexpr int kMaxIndexDepth = 3;
constexpr std::size_t kMaxVariables = 1024, kMaxArguments = 256;

std::unexpected<core::Error> refused(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const Json& member(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

/// This program's architecture in the words of container images. The walls let nobody ask the kernel for it.
constexpr std::string_view own_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
#error "name the architecture"
#endif
}

bool is_for_us(const Json& platform) {
  const auto os = text_of(platform, "os"), architecture = text_of(platform, "architecture");
  return (os.empty() || os == "linux") && (architecture.empty() || architecture == own_architecture());
}

class ContainerReader {
 public:
  ContainerReader(const FileTree& container, Spool& spool) : container_(container), spool_(spool) {}

  core::Result<LoadedImage> run() {
    const bool oci = container_.find("oci-layout") != nullptr && container_.find("index.json") != nullptr;
    auto done = oci ? read_layout() : read_docker();
    if (!done) return std::unexpected(std::move(done.error()));
    image_.source = oci ? "oci" : "docker";
    return std::move(image_);
  }

 private:
  core::Result<Extent> file(const std::string& path) const {
    const auto node = container_.find(path);
    if (!node || node->kind != FileNode::Kind::file) return refused(fmt::format("\"{}\" is missing from the archive", path.substr(0, 200)));
    return node->data;
  }

  core::Result<Json> document(Extent extent, std::string_view name) const {
    auto text = read_whole(spool_.fd(), extent, spool_.bounds().document_bytes);
    if (!text) return refused(fmt::format("{}: {}", name, text.error().what));
    Json parsed = Json::parse(*text, nullptr, false);
    if (parsed.is_discarded()) return refused(fmt::format("{} is no JSON", name));
    return parsed;
  }

  /// The blob that a descriptor names, once its size and digest are proven.
  core::Result<Extent> blob(const Json& descriptor) const {
    const std::string digest = text_of(descriptor, "digest");
    if (!is_digest(digest)) return refused(fmt::format("a blob is named by \"{}\", which is no sha256 digest", digest.substr(0, 100)));
    auto extent = file("blobs/sha256/" + digest.substr(kDigestPrefix.size()));
    if (!extent) return extent;
    const Json& size = member(descriptor, "size");
    if (size.is_number_unsigned() && size.get<std::uint64_t>() != extent->size)
      return refused(fmt::format("blob {} has {} bytes, not {}", digest, extent->size, size.get<std::uint64_t>()));
    if (auto proven = prove(*extent, digest); !proven) return std::unexpected(std::move(proven.error()));
    return extent;
  }

  core::Status prove(Extent extent, const std::string& digest) const {
    auto hex = sha256_of_range(spool_.fd(), extent.offset, extent.size);
    if (!hex) return std::unexpected(std::move(hex.error()));
    if (std::string(kDigestPrefix) + *hex == digest) return {};
    return refused(fmt::format("a blob that is named {} has the digest sha256:{}", digest, *hex));
  }

  core::Status read_layout() {
    auto extent = file("index.json");
    if (!extent) return std::unexpected(std::move(extent.error()));
    auto index = document(*extent, "index.json");
    if (!index) return std::unexpected(std::move(index.error()));
    auto manifest = choose(*index, 0);
    if (!manifest) return std::unexpected(std::move(manifest.error()));
    auto config = blob(member(*manifest, "config"));
    if (!config) return std::unexpected(std::move(config.error()));
    if (auto read = read_config(*config); !read) return read;
    const Json& layers = member(*manifest, "layers");
    if (!layers.is_array()) return refused("the manifest has no layers");
    for (const Json& layer : layers) {
      auto bytes = blob(layer);
      if (!bytes) return std::unexpected(std::move(bytes.error()));
      if (auto applied = apply(*bytes, text_of(layer, "digest")); !applied) return applied;
    }
    return {};
  }

  /// The one manifest for this machine, through indexes of indexes.
  core::Result<Json> choose(const Json& index, int depth) {
    if (depth > kMaxIndexDepth) return refused("the index of images is nested too deep");
    const Json& manifests = member(index, "manifests");
    if (!manifests.is_array()) return refused("the index of images has no manifests");
    std::vector<const Json*> fitting;
    for (const Json& entry : manifests) {
      const bool attestation = !text_of(member(entry, "annotations"), "vnd.docker.reference.type").empty();
      const bool same = std::ranges::any_of(fitting, [&](const Json* f) { return text_of(*f, "digest") == text_of(entry, "digest"); });
      if (is_for_us(member(entry, "platform")) && !attestation && !same) fitting.push_back(&entry);
    }
    if (fitting.empty()) return refused(fmt::format("there is no image for linux/{} in it", own_architecture()));
    if (fitting.size() > 1) return refused(fmt::format("there are {} images in it; save the one that is wanted", fitting.size()));
    auto extent = blob(*fitting.front());
    if (!extent) return std::unexpected(std::move(extent.error()));
    auto chosen = document(*extent, "the manifest");
    if (!chosen) return chosen;
    return member(*chosen, "manifests").is_array() ? choose(Json(*chosen), depth + 1) : std::move(chosen);
  }

  core::Status read_docker() {
    auto extent = file("manifest.json");
    if (!extent) return std::unexpected(std::move(extent.error()));
    auto list = document(*extent, "manifest.json");
    if (!list) return std::unexpected(std::move(list.error()));
    if (!list->is_array() || list->size() != 1)
      return refused(fmt::format("there are {} images in it; save the one that is wanted", list->is_array() ? list->size() : 0));
    const Json& manifest = list->front();
    const std::string config_name = text_of(manifest, "Config");
    auto config = file(config_name);
    if (!config) return std::unexpected(std::move(config.error()));
    if (auto proven = prove_named(*config, config_name); !proven) return proven;
    if (auto read = read_config(*config); !read) return read;
    const Json& layers = member(manifest, "Layers");
    const Json& digests = member(member(document_, "rootfs"), "diff_ids");
    if (!layers.is_array() || !digests.is_array() || layers.size() != digests.size())
      return refused("manifest.json and the configuration do not agree about the layers");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!layers[i].is_string() || !digests[i].is_string()) return refused("a layer of manifest.json has no name");
      auto bytes = file(layers[i].get<std::string>());
      if (!bytes) return std::unexpected(std::move(bytes.error()));
      // A layer is stored as it is, and its digest is the configuration's.
      if (auto proven = prove(*bytes, digests[i].get<std::string>()); !proven) return proven;
      if (auto applied = apply(*bytes, layers[i].get<std::string>()); !applied) return applied;
    }
    return {};
  }

  /// The configuration's name has its digest: "<hex>.json", or "blobs/sha256/<hex>".
  core::Status prove_named(Extent extent, std::string name) const {
    name = name.substr(name.rfind('/') + 1);
    if (name.ends_with(".json")) name.resize(name.size() - 5);
    const std::string digest = std::string(kDigestPrefix) + name;
    if (!is_digest(digest)) return refused("the configuration is not named by its digest");
    return prove(extent, digest);
  }

  core::Status apply(Extent extent, std::string_view name) {
    if (++layers_ > spool_.bounds().layers) return refused(fmt::format("there are more than {} layers in it", spool_.bounds().layers));
    auto read = read_archive({spool_.fd(), extent, false}, ArchiveKind::layer, layers_, spool_, image_.tree);
    if (!read) read.error().what = fmt::format("layer {}: {}", name.substr(0, 100), read.error().what);
    return read;
  }

  core::Status read_config(Extent extent) {
    auto parsed = document(extent, "the configuration");
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    document_ = std::move(*parsed);
    if (!is_for_us(document_))
      return refused(fmt::format("it is for {}/{}, this machine is linux/{}", text_of(document_, "os"), text_of(document_, "architecture"),
                                 own_architecture()));
    const Json& config = member(document_, "config");
    if (auto read = read_env(member(config, "Env")); !read) return read;
    image_.config.workdir = text_of(config, "WorkingDir");
    if (image_.config.workdir.size() > kMaxPathBytes || image_.config.workdir.contains('\0')) return refused("its WorkingDir is no path");
    const Json& entrypoint = member(config, "Entrypoint");
    if (!entrypoint.is_null() && (!entrypoint.is_array() || entrypoint.size() > kMaxArguments)) return refused("its Entrypoint is no list");
    for (const Json& word : entrypoint) {
      if (!word.is_string() || word.get_ref<const std::string&>().contains('\0')) return refused("its Entrypoint is no list of strings");
      image_.config.entrypoint.push_back(word.get<std::string>());
    }
    if (!member(config, "Cmd").is_null() && !member(config, "Cmd").empty())
      image_.notes.emplace_back("its Cmd is not used: a step names its own");
    if (!text_of(config, "User").empty()) image_.notes.emplace_back("its User is not used: programs are uid 1000");
    return {};
  }

  core::Status read_env(const Json& list) {
    if (list.is_null()) return {};
    if (!list.is_array() || list.size() > kMaxVariables) return refused("its Env is no list");
    for (const Json& entry : list) {
      const std::string text = entry.is_string() ? entry.get<std::string>() : "";
      const auto equals = text.find('=');
      if (equals == std::string::npos || equals == 0 || text.contains('\0')) return refused("its Env has something other than NAME=value");
      image_.config.env[text.substr(0, equals)] = text.substr(equals + 1);
    }
    return {};
  }

  const FileTree& container_;
  Spool& spool_;
  LoadedImage image_;
  Json document_;
  unsigned layers_ = 0;
};

}  // namespace

bool is_container(const FileTree& tree) {
  const auto has = [&](const char* name) { return tree.root().children.contains(name); };
  if (has("usr") || has("bin") || has("etc")) return false;
  return (has("oci-layout") && has("index.json")) || has("manifest.json");
}

core::Result<LoadedImage> load_container(const FileTree& container, Spool& spool) { return ContainerReader(container, spool).run(); }

}  // namespace bailiff::images
