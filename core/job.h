#pragma once
// A job as a client asks for it and as it ends (api.md, "A job request" and "A job"). Decoded once, at the server's edge.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/outcome.h"

namespace bailiff::core {

/// The bytes of a file or stream, or the digest ("sha256:<hex>") of a stored blob that holds them.
struct Content {
  std::string bytes;
  std::optional<std::string> blob;
};

using Environment = std::map<std::string, std::string>;

struct StepSpec {
  std::string name;
  std::vector<std::string> command;  // argv; a string command has become {"/bin/sh", "-c", text}
  Environment env;                   // over the job's
  std::string cwd;                   // relative to /work, no ".."
  Content stdin_content;
  LimitOverrides limits;             // over the job's
  bool always = false;
};

struct TestSpec {
  std::string name;
  Content stdin_content;
  std::optional<Content> expected;   // without it a test that ends well is accepted
  LimitOverrides limits;             // over the job's
  double points = 1;
};

struct Checker {
  enum class Kind { tokens, lines, exact, floats } kind = Kind::tokens;
  double absolute = 0, relative = 0;  // floats only
};

/// Where the end of a job is told. The secret is never shown.
struct Webhook {
  std::string url, secret;
};

/// Whose standard input a client writes while it runs: the run of a language, the last of the steps.
enum class Interactive : std::uint8_t { no, pipe, terminal };

struct JobSpec {
  std::optional<std::string> language;  // canonical name; then source or files, and args, stdin, tests may be set
  std::optional<std::string> image;     // else steps are
  std::optional<Content> source;
  std::map<std::string, Content> files;  // workspace-relative path → bytes
  std::vector<StepSpec> steps;
  std::vector<std::string> args;
  Content stdin_content;
  Environment env;
  LimitOverrides limits;
  int priority = 0;
  std::map<std::string, std::string> labels;
  std::vector<TestSpec> tests;
  Checker checker;
  bool stop_on_failure = true;
  std::optional<Webhook> webhook;
  std::vector<std::string> artifacts;    // globs of workspace paths that are kept when its steps have ended; none with tests
  std::optional<Content> archive;        // tar or zip, unpacked into the workspace before `files`
  Interactive interactive = Interactive::no;  // without tests and without a stdin of that step
};

struct StepResult {
  std::string name;
  Outcome outcome;
  std::string stdout_bytes, stderr_bytes;  // raw, up to limits.output_bytes
};

struct TestResult {
  std::string name;
  Outcome outcome;                   // .verdict is the test's: accepted, wrong_answer or what the program did
  double points = 0;
  std::string stdout_bytes, stderr_bytes;
  std::string checker_message;       // empty: none
};

/// A file that the job left and that is kept.
struct Artifact {
  std::string path;                  // relative to the workspace, UTF-8
  std::string bytes;
};

struct JobResult {
  Verdict verdict = Verdict::internal_error;
  std::string message;               // empty: none
  std::vector<StepResult> steps;
  std::vector<TestResult> tests;
  std::optional<double> score;       // set when the job has tests
  std::vector<Artifact> artifacts;
  bool artifacts_truncated = false;  // not all that matched could be kept
};

}  // namespace bailiff::core
