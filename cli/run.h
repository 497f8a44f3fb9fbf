#pragma once
// `bailiff run`: one program on this machine, in the same sandbox that a server uses, without a server.
#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/terminal.h"
#include "core/job.h"
#include "images/catalogue.h"
#include "sandbox/client.h"

namespace bailiff::cli {

struct RunOptions {
  std::string file;
  std::vector<std::string> args;
  std::string language;     // empty: by the file's extension
  std::string image;        // empty: the language's; a name or the absolute path of an unpacked root filesystem
  std::string definitions;  // empty: those that came with the program
  std::string images_directory = "/var/lib/bailiff/images";
  std::optional<std::string> stdin_file;  // else our own standard input
  core::LimitOverrides limits;
  sandbox::CgroupDriver cgroup_driver = sandbox::CgroupDriver::automatic;
  bool json = false;
};

/// Runs it, prints its outputs to ours and one line about it to standard error; the exit code tells the verdict.
[[nodiscard]] Expected<ExitCode> run_local(const RunOptions& options, const Console& console);

/// Every definition whose first tool stands where the host image can see it, or whose image is in the directory. Cheap: nothing is run.
[[nodiscard]] core::Result<images::Catalogue> local_catalogue(const std::string& definitions, const std::string& images_directory);
/// By --language, else by the file's extension.
[[nodiscard]] Expected<images::Language> choose_language(const images::Catalogue& catalogue, const RunOptions& options);
/// The verdict of a job of these steps, of which the first is a compile step where `compiled`.
[[nodiscard]] core::Verdict verdict_of_run(const std::vector<core::StepResult>& steps, bool compiled);

}  // namespace bailiff::cli
