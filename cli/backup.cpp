#include "cli/backup.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "cli/render.h"
#include "core/json/json.h"
#include "storage/backup.h"
#include "storage/store.h"

namespace bailiff::cli {
namespace {

std::unexpected<Failure> failure_of(const core::Error& error, const BackupOptions& options) {
  switch (error.kind) {
    case core::ErrorKind::invalid: return failure(kExitNoInput, error.what);
    case core::ErrorKind::conflict: return failure(kExitRefused, error.what, "name a file that is not there yet");
    case core::ErrorKind::unavailable:
      return failure(kExitNoInput, error.what, "is there room for the copy, and may you read the server's directory (--data)? Try sudo");
    default: break;
  }
  const bool denied = error.sys_errno == EACCES || error.sys_errno == EPERM;
  return failure(denied ? kExitNoPermission : kExitInternal, error.what,
                 denied ? fmt::format("run it by sudo, or as the owner of {}", options.data) : "");
}

}  // namespace

Expected<ExitCode> back_up(const BackupOptions& options, const Console& console) {
  struct stat directory{};
  if (::lstat(options.data.c_str(), &directory) != 0 || !S_ISDIR(directory.st_mode))
    return failure(kExitNoInput, options.data + " is no directory", "--data names the server's directory");
  storage::Backup backup;
  backup.database = (std::filesystem::path(options.data) / storage::kDatabaseName).string();
  backup.copy = options.copy;
  backup.reader_uid = directory.st_uid;
  backup.reader_gid = directory.st_gid;
  if (console.err.is_terminal())
    backup.progress = [&](std::uint64_t done, std::uint64_t all) {
      (void)console.err.write(fmt::format("\r{:3} %", all == 0 ? 100 : done * 100 / all));
    };
  const auto bytes = storage::back_up(backup);
  if (console.err.is_terminal()) (void)console.err.write("\r     \r");
  if (!bytes) return failure_of(bytes.error(), options);
  const auto text = options.json ? core::Json{{"file", core::to_utf8(options.copy)}, {"bytes", *bytes}}.dump(2) + "\n"
                                 : fmt::format("{}: {} bytes, whole\n", sanitise_line(options.copy), *bytes);
  if (auto written = console.out.write(text); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  return kExitOk;
}

}  // namespace bailiff::cli
