#pragma once
// The commands that talk to a server: submit, job, jobs, cancel, pause, resume, languages.
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/http_client.h"
#include "cli/terminal.h"
#include "core/job.h"

namespace bailiff::cli {

struct ServerOptions;
/// The server that the options name, with the key of BAILIFF_API_KEY.
[[nodiscard]] Expected<HttpClient> client_of(const ServerOptions& options);

/// Longest that --wait without a number waits.
inline constexpr std::chrono::seconds kDefaultWait{3600};

struct ServerOptions {
  std::string url = "http://127.0.0.1:8080";
  bool json = false;
  std::optional<std::chrono::seconds> wait;
};

struct SubmitOptions {
  ServerOptions server;
  std::string file;
  std::vector<std::string> args;
  std::string language, image;  // empty: by the file's extension; the language's
  std::string stdin_file, archive, tests_directory, checker, idempotency_key;
  core::LimitOverrides limits;
  std::vector<std::string> labels;  // "k=v"
  std::vector<std::string> artifacts;  // globs
  int priority = 0;
  bool interactive = false, terminal = false;
};

struct JobsOptions {
  ServerOptions server;
  std::string state, verdict;
  std::vector<std::string> labels;
  std::size_t count = 20;
};

/// The request document for POST /v1/jobs, from files that it reads.
[[nodiscard]] Expected<core::Json> job_request(const SubmitOptions& options);

/// Each prints what it has to say and returns the exit code.
/// Of an interactive job: once it has ended.
[[nodiscard]] Expected<ExitCode> submit(const SubmitOptions& options, const Console& console);
[[nodiscard]] Expected<ExitCode> show_job(const ServerOptions& options, const std::string& id, const Console& console);
[[nodiscard]] Expected<ExitCode> inspect_job(const ServerOptions& options, const std::string& id, const Console& console);
[[nodiscard]] Expected<ExitCode> list_jobs(const JobsOptions& options, const Console& console);
/// `action`: cancel, pause or resume.
[[nodiscard]] Expected<ExitCode> act_on_job(const ServerOptions& options, const std::string& action, const std::string& id,
                                            const Console& console);
[[nodiscard]] Expected<ExitCode> list_languages(const ServerOptions& options, const Console& console);

}  // namespace bailiff::cli
