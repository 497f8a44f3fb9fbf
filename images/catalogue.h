#pragma once
// What programs can be written in and run in: language definitions (TOML, images/definitions/languages/) and images.
// No sandbox here: whoever probes versions passes a function that runs a command in an image.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "images/image_store.h"

namespace bailiff::images {

struct Image {
  std::string name;     // "host"
  std::string digest;   // "sha256:<hex>"; of `host`: of what identifies this machine's installed system
  std::string kind;     // "host" | "directory" | "erofs"
  std::string path;     // directory only
  std::uint64_t bytes = 0;                 // erofs: on disk
  std::map<std::string, std::string> env{};  // of every program in it, under the language's and the job's
  std::string workdir{};                     // working directory of steps that name none, where it lies in /work; else it is not used
  std::vector<std::string> entrypoint{};     // stands before the command of steps, but not before a shell command
  std::map<std::string, ProbedVersion> versions{};  // by language: what was found in it before

  /// Its name in the sandbox (sandbox/client.h): of an EROFS image, its digest.
  [[nodiscard]] std::string sandbox_name() const;
};
/// What the store has, as it is offered.
[[nodiscard]] Image image_of(const StoredImage& stored);

/// A language as its definition has it. Placeholders in argv: none; paths are workspace-relative.
struct Language {
  std::string name;                       // "cpp"
  std::string title;                      // "C++ 17 (GCC)"
  std::vector<std::string> aliases;
  std::string image;                      // name of an Image; in a Catalogue: of the one that it is offered in
  std::string source_file;                // "main.cpp": where `source` is written
  std::vector<std::string> compile;       // argv, empty: interpreted
  std::vector<std::string> run;           // argv; a request's args are appended
  std::map<std::string, std::string> env; // for both
  std::vector<std::string> version_command;
  std::string version;                    // as probed, one line; empty before the probe
  double time_factor = 1;                 // the run step's default CPU and wall time is so many times the server's …
  double memory_factor = 1;               // … and its default memory; what `limits` names it does not touch
  core::LimitOverrides limits;            // defaults of the run step, over the server's
  core::LimitOverrides compile_limits;    // of the compile step, over the server's compile defaults
  std::string hello;                      // a program that prints "Hello, world!\n" when its input has lines
  std::map<std::string, std::string> programs;  // of kSelfTestPrograms, by name
  std::string programs_of;                // name of the language whose hello and programs it takes
  std::vector<std::string> lacks;         // names of kSelfTestPrograms that cannot be written in it
  std::vector<std::string> packages;      // Debian packages that bring the tools, for `bailiff doctor` and script/bootstrap
};

/// What a definition shows beside `hello`: copies its input to its output; is refused by the compiler; ends with an error; never ends;
/// takes memory without end.
inline constexpr std::string_view kSelfTestPrograms[] = {"stdin", "compile_error", "runtime_error", "time_limit", "memory_limit"};

/// The defaults of its run step, before `limits`: those of the server by the language's factors.
core::Limits scaled(core::Limits defaults, const Language& language);

/// Parses one definition. Every fault is named with the file and its key ("x.toml: run: …"), all of them joined by "; "; unknown keys
/// are faults. Keys: name title aliases image source_file compile run env version_command time_factor memory_factor limits compile_limits
/// hello programs programs_of lacks packages; limits are named and scaled as in requests (core/limits.h) and lie between floor and ceiling.
core::Result<Language> parse_language(std::string_view toml_text, std::string_view file_name);

/// Every *.toml in `directory`, sorted; names and aliases are unique, programs_of is resolved. One Error (invalid) names every fault of
/// every file.
core::Result<std::vector<Language>> read_definitions(const std::string& directory);

/// The images that a language may be offered in, the first that has its tools wins: its own and `host`, of those that there are.
std::vector<const Image*> candidates(const Language& language, const std::vector<Image>& images);

/// Runs version_command in the image that the language names: its output, or nothing where the tool is not there.
using VersionProbe = std::function<std::optional<std::string>(const Language&)>;

/// All that is offered. Languages are immutable once it is made; images may come and go. Share it freely between threads.
class Catalogue {
 public:
  /// Of read_definitions(): asks `probe` for each version in each candidate and leaves out the languages for which it gives nothing.
  static core::Result<Catalogue> load(const std::string& directory, std::vector<Image> images, const VersionProbe& probe);
  [[nodiscard]] const std::vector<Language>& languages() const { return languages_; }
  [[nodiscard]] std::vector<Image> images() const;
  /// By name or alias (case-insensitive); nullptr when not offered.
  [[nodiscard]] const Language* find_language(std::string_view name_or_alias) const;
  [[nodiscard]] std::shared_ptr<const Image> find_image(std::string_view name) const;
  /// Offers an image from now on, instead of what had its name.
  void offer(Image image);
  void withdraw(std::string_view name);

 private:
  struct Images {
    std::mutex mutex;
    std::vector<std::shared_ptr<const Image>> all;  // guarded by it; in order of names, `host` first
  };
  std::vector<Language> languages_;
  std::unique_ptr<Images> images_ = std::make_unique<Images>();
  std::map<std::string, std::size_t> by_name_;
};

/// The embedded image: this machine's /usr. Its digest covers the machine's architecture, /etc/os-release, the package manager's list of
/// what is installed (dpkg, apk or rpm) and the names, sizes and times of what stands in /usr/local outside of it. `root` stands before
/// each path, for tests.
core::Result<Image> host_image(const std::string& root = "");

/// What the environment of every step starts from (PATH, HOME, LANG); a language's, a job's and a step's come over it, in this order.
const std::map<std::string, std::string>& base_environment();

/// Where the definitions are: share/bailiff/languages beside the running program's bin directory when installed, else the source tree's.
std::string default_definitions_directory();

/// Absolute host path of the program that argv0 names in the host image under `env`, or nothing. A cheap first look before a real probe.
std::optional<std::string> find_host_tool(const std::string& argv0, const std::map<std::string, std::string>& env);

/// First non-empty line of a version command's output, at most 200 bytes, control bytes replaced by '?'.
std::string first_line(std::string_view output);

}  // namespace bailiff::images
