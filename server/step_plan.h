#pragma once
// From a job to the programs to run: commands, environments and limits of every step and test. Pure: no slot, no clock, no file system.
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/job.h"
#include "core/result.h"
#include "images/catalogue.h"

namespace bailiff::server {

/// What a server's configuration says about limits.
struct LimitLevels {
  core::Limits step = core::default_limits();     // default of a step or test
  core::Limits compile =
      core::default_limits();  // default of a compile step; what a job asks for is about its program, not about its compiler
  core::Limits ceiling = core::ceiling_limits();  // nothing runs above it, whatever was accepted under an earlier configuration
  std::uint64_t artifact_bytes = 64ULL << 20;     // that a job's artifacts may have together
};

struct PlannedStep {
  std::string name;
  std::vector<std::string> command;
  std::vector<std::string> env;  // "K=V"
  std::string cwd;
  core::Limits limits{};
  std::string_view stdin_bytes;  // points into the JobSpec
  bool always = false;
  core::Interactive interactive = core::Interactive::no;
};

/// The JobSpec that it was made from must outlive it.
struct JobPlan {
  std::string image;               // its name in the sandbox
  int compile_step = -1;           // index of the compile step in `steps`
  std::vector<PlannedStep> steps;  // with tests: at most the compile step
  std::vector<PlannedStep> tests;  // same order as JobSpec::tests
  struct File {
    std::string_view path, bytes;
  };
  std::vector<File> files;  // sorted by path
  std::string_view archive;  // empty: none
};

/// The limits of the first program, in whose workspace the files are placed. `language`: of a job that has one.
[[nodiscard]] core::Limits placing_limits(const core::JobSpec& spec, const images::Language* language, const LimitLevels& levels);

/// ErrorKind::invalid: the job cannot run here; the text may be shown to the client.
core::Result<JobPlan> plan_job(const core::JobSpec& spec, const images::Catalogue& catalogue, const LimitLevels& levels);

/// "K=V" entries: a small base (PATH, HOME, LANG), then each layer over the ones before it.
[[nodiscard]] std::vector<std::string> environment_of(std::initializer_list<const core::Environment*> layers);

/// One line for a person about a step or test that did not end well; empty where it did. Valid for a message to the client.
[[nodiscard]] std::string describe(const core::Outcome& outcome, const core::Limits& limits);

}  // namespace bailiff::server
