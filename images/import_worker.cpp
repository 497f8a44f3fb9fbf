#include "images/import_worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstddef>

#include "core/fd.h"
#include "core/json/json.h"
#include "images/archive.h"
#include "images/erofs.h"
#include "images/essentials.h"
#include "images/oci.h"

namespace bailiff::images {
namespace {

using core::Json;

constexpr unsigned kNobody = 65534;
constexpr rlim_t kMaxMemoryBytes = 4ULL << 30, kMaxUnpackMemoryBytes = 1ULL << 30, kMaxCpuSeconds = 1800;
constexpr rlim_t kBlockSlackBytes = 1 << 20;
constexpr std::size_t kMaxLayoutFiles = 4096;

std::unexpected<core::Error> refused(std::string what) { return core::error(core::ErrorKind::invalid, std::move(what)); }

/// Copies the plain files of a directory into a tree; of what else is there nothing is looked at.
class DirectoryReader {
 public:
  DirectoryReader(Spool& spool, FileTree& tree) : spool_(spool), tree_(tree) {}

  core::Status read(int directory, const std::string& prefix, int depth) {
    const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return core::errno_error("open the directory");
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), &::closedir);
    if (!stream) return core::errno_error("read the directory");
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      const core::Fd file(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      struct stat info{};
      if (!file.valid() || ::fstat(file.get(), &info) != 0) continue;
      if (S_ISDIR(info.st_mode) && depth > 0)
        if (auto read_it = read(file.get(), prefix + name + "/", depth - 1); !read_it) return read_it;
      if (S_ISREG(info.st_mode))
        if (auto added = add(file.get(), prefix + name, static_cast<std::uint64_t>(info.st_size)); !added) return added;
    }
    return {};
  }

 private:
  core::Status add(int file, const std::string& path, std::uint64_t size) {
    if (++files_ > kMaxLayoutFiles) return refused("there are more files in the directory than an OCI layout has");
    std::uint64_t at = 0;
    auto copied = read_extent(file, {0, size}, [&](std::string_view piece) {
      auto put = spool_.put(piece, at);
      at += piece.size();
      return put;
    });
    if (!copied) return copied;
    spool_.count_input(size);
    auto extent = spool_.close(size);
    if (!extent) return std::unexpected(std::move(extent.error()));
    auto node = std::make_shared<FileNode>();
    node->kind = FileNode::Kind::file;
    node->data = *extent;
    return tree_.add(path, std::move(node));
  }

  Spool& spool_;
  FileTree& tree_;
  std::size_t files_ = 0;
};

core::Status bound_resources(const ImportBounds& bounds, [[maybe_unused]] rlim_t memory_bytes) {
  const auto bound = [](auto what, rlim_t most) {
    const rlimit limit{most, most};
    return ::setrlimit(what, &limit) == 0;
  };
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose shadow memory alone is larger
  if (!bound(RLIMIT_AS, memory_bytes)) return core::errno_error("setrlimit");
#endif
  // A write past RLIMIT_FSIZE shall fail, not kill: the reason is told then.
  if (std::signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return core::errno_error("ignore SIGXFSZ");
  const bool bounded = bound(RLIMIT_CPU, kMaxCpuSeconds) && bound(RLIMIT_CORE, 0) && bound(RLIMIT_FSIZE, bounds.bytes + kBlockSlackBytes);
  if (!bounded) return core::errno_error("setrlimit");
  return {};
}

core::Status become_nobody() {
  if (::geteuid() != 0) return {};
  if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0)
    return core::errno_error("become nobody");
  return {};
}

/// What is not on the list fails with EPERM. Nothing on it makes or finds a descriptor or a process.
core::Status allow_only_work() {
#if defined(__x86_64__)
  constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "name the architecture for seccomp"
#endif
  constexpr long kAllowed[] = {SYS_read,         SYS_write,         SYS_pread64, SYS_pwrite64,  SYS_lseek,        SYS_fstat,
                               SYS_fstatfs,      SYS_ftruncate,     SYS_mmap,    SYS_munmap,    SYS_mremap,       SYS_mprotect,
                               SYS_madvise,      SYS_brk,           SYS_futex,   SYS_getrandom, SYS_rt_sigaction, SYS_rt_sigprocmask,
                               SYS_rt_sigreturn, SYS_clock_gettime, SYS_getpid,  SYS_gettid,    SYS_tgkill,       SYS_close,
                               SYS_exit,         SYS_exit_group};
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const long number : kAllowed) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return core::errno_error("set no_new_privs");
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return core::errno_error("install the seccomp filter");
  return {};
}

core::Result<Json> import_tree(FileTree& unpacked, Spool& spool, int image) {
  LoadedImage loaded;
  if (is_container(unpacked)) {
    auto read = load_container(unpacked, spool);
    if (!read) return std::unexpected(std::move(read.error()));
    loaded = std::move(*read);
  } else {
    loaded.tree = std::move(unpacked);
    loaded.source = "rootfs";
  }
  if (loaded.tree.root().children.empty()) return refused("there is nothing in it");
  const auto top_entries = spool.bounds().top_entries;
  if (loaded.tree.root().children.size() > top_entries)
    return refused("there are more than " + std::to_string(top_entries) + " entries in its root directory");
  if (auto added = add_essentials(loaded.tree, spool); !added) return std::unexpected(std::move(added.error()));
  auto bytes = write_erofs(loaded.tree, spool, image);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  return Json{
      {"bytes", *bytes},         {"env", loaded.config.env}, {"workdir", loaded.config.workdir}, {"entrypoint", loaded.config.entrypoint},
      {"source", loaded.source}, {"notes", loaded.notes}};
}

std::string answer(const core::Result<Json>& result) {
  const auto text = [](const Json& document) { return document.dump(-1, ' ', false, Json::error_handler_t::replace); };
  if (result) return text(*result);
  return text({{"kind", static_cast<int>(result.error().kind)}, {"error", result.error().what}});
}

core::Status unpack(int input, const struct stat& info, Spool& spool, FileTree& tree) {
  if (S_ISDIR(info.st_mode)) return {};  // read already
  const bool is_file = S_ISREG(info.st_mode);
  return read_archive({input, {0, static_cast<std::uint64_t>(info.st_size)}, !is_file}, ArchiveKind::tree, 0, spool, tree);
}

/// `wall_in` stands between what needs the file system and what reads a stranger's bytes.
template <class WallIn>
std::string import_with(int input, int spool_fd, int image, const ImportBounds& bounds, WallIn wall_in) {
  try {
    Spool spool(spool_fd, bounds);
    FileTree tree;
    struct stat info{};
    if (::fstat(input, &info) != 0) return answer(core::errno_error("look at the input"));
    if (S_ISDIR(info.st_mode)) {
      if (auto read = DirectoryReader(spool, tree).read(input, "", 3); !read) return answer(std::unexpected(std::move(read.error())));
      if (!is_container(tree))
        return answer(refused("the directory is no OCI image layout; a root filesystem is imported as a tar archive"));
    }
    if (auto walled = wall_in(); !walled) return answer(std::unexpected(std::move(walled.error())));
    if (auto read = unpack(input, info, spool, tree); !read) return answer(std::unexpected(std::move(read.error())));
    return answer(import_tree(tree, spool, image));
  } catch (const std::bad_alloc&) {
    return answer(refused("it needs more memory than an import may have"));
  }
}

/// Every node below `node`, a directory before what is in it.
void list_files(const FileNode& node, const std::string& prefix, Json& files) {
  for (const auto& [name, child] : node.children) {
    const std::string path = prefix + name;
    files.push_back({static_cast<int>(child->kind), core::content_to_json(path), child->executable, core::content_to_json(child->target),
                     child->data.offset, child->data.size});
    list_files(*child, path + "/", files);
  }
}

template <class WallIn>
std::string unpack_with(int input, int spool_fd, const ImportBounds& bounds, WallIn wall_in) {
  try {
    Spool spool(spool_fd, bounds);
    FileTree tree;
    struct stat info{};
    if (::fstat(input, &info) != 0) return answer(core::errno_error("look at the input"));
    if (auto walled = wall_in(); !walled) return answer(std::unexpected(std::move(walled.error())));
    const ArchiveSource source{input, {0, static_cast<std::uint64_t>(info.st_size)}, false};
    if (auto read = read_archive(source, ArchiveKind::workspace, 0, spool, tree); !read)
      return answer(std::unexpected(std::move(read.error())));
    Json document = {{"files", Json::array()}};
    list_files(tree.root(), "", document["files"]);
    return answer(std::move(document));
  } catch (const std::bad_alloc&) {
    return answer(refused("it needs more memory than an archive may have"));
  }
}

core::Status wall_in(const ImportBounds& bounds, rlim_t memory_bytes) {
  if (auto done = bound_resources(bounds, memory_bytes); !done) return done;
  if (auto done = become_nobody(); !done) return done;
  return allow_only_work();
}

void begin_work() {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  (void)std::setlocale(LC_CTYPE, "C.UTF-8");  // names in archives are UTF-8 and stay as they are
}

int tell(std::string text, const char* too_large) {
  if (text.size() > kMaxWorkerAnswerBytes) text = answer(refused(too_large));
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written <= 0) return 1;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

std::string import_document(int input, int spool, int image, const ImportBounds& bounds) {
  return import_with(input, spool, image, bounds, [] { return core::Status{}; });
}

int run_import_worker() {
  begin_work();
  const ImportBounds bounds;
  const auto walls = [&bounds] { return wall_in(bounds, kMaxMemoryBytes); };
  return tell(import_with(STDIN_FILENO, kSpoolFd, kImageFd, bounds, walls), "its configuration is too large");
}

int run_unpack_worker(std::uint64_t bytes, std::uint64_t entries) {
  begin_work();
  ImportBounds bounds;
  bounds.bytes = bytes;
  bounds.entries = entries;
  bounds.disk_floor_bytes = 0;  // the spool is in memory
  const auto walls = [&bounds] { return wall_in(bounds, kMaxUnpackMemoryBytes); };
  return tell(unpack_with(STDIN_FILENO, kSpoolFd, bounds, walls), "the list of what is in it is too long");
}

}  // namespace bailiff::images
