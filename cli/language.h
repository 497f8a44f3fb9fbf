#pragma once
// `bailiff language test`: the languages of this machine, each tried with its definition's own programs in its image.
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/language_trial.h"
#include "cli/terminal.h"
#include "images/image_store.h"
#include "sandbox/client.h"

namespace bailiff::cli {

struct LanguageTestOptions {
  std::vector<std::string> names;  // names or aliases; empty: all
  std::string image;               // only in this one; empty: each in its own, else in the host's
  std::string images_directory = "/var/lib/bailiff/images";
  std::string definitions;  // empty: those that came with the program
  sandbox::CgroupDriver cgroup_driver = sandbox::CgroupDriver::automatic;
  bool json = false, markdown = false;
};

/// Prints a line for each language. kExitOk: all that are here passed, and all that were named are here.
[[nodiscard]] Expected<ExitCode> test_languages(const LanguageTestOptions& options, const Console& console);

/// Asks the version commands of the languages that name the image, in it, and notes the answers in the store. Needs root. How many
/// answered.
[[nodiscard]] Expected<std::size_t> note_languages(const images::ImageStore& store, const images::StoredImage& image,
                                                   const std::string& definitions, sandbox::CgroupDriver driver);

[[nodiscard]] std::string render_trials(const std::vector<Trial>& trials, const Paint& paint);
[[nodiscard]] core::Json trials_to_json(const std::vector<Trial>& trials);
/// docs/languages.md.
[[nodiscard]] std::string trials_to_markdown(const std::vector<Trial>& trials, const std::vector<images::Image>& images);

}  // namespace bailiff::cli
