#pragma once
// The self-test of one language: its definition's programs, each compiled and run in the real sandbox, each with the verdict that it must
// have.
#include <string>

#include "cli/local_sandbox.h"
#include "images/catalogue.h"

namespace bailiff::cli {

struct Trial {
  std::string name{}, title{};
  std::vector<std::string> aliases{};
  std::string image{};  // where it ran; of what is absent: what its definition names
  std::string version{};  // as its version command says it now
  bool present = false;  // there is an image with its tools
  bool passed = false;
  std::string detail{};  // what failed, in one line; else what was done
  core::Usage hello{}, hello_compile{};  // of the hello program; the latter 0 where nothing is compiled
  core::Limits limits{};  // defaults of its run step
};

/// What the version command says in the language's image; nothing where it fails.
[[nodiscard]] Expected<std::optional<std::string>> version_in(LocalSlot& slot, const images::Language& language);

/// Runs the programs of a language whose `image` is its name in the sandbox. A failure is one of ours.
[[nodiscard]] Expected<Trial> try_language(LocalSlot& slot, const images::Language& language);

/// One program of a language, compiled where it is a compiled one. The steps, as of a job.
[[nodiscard]] Expected<std::vector<core::StepResult>> run_program(LocalSlot& slot, const images::Language& language,
                                                                  const std::string& source, const std::string& input,
                                                                  const core::Limits& limits);

}  // namespace bailiff::cli
