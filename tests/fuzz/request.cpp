// The body of POST /v1/jobs. Whatever it is, it is a job that is stored and read back as the same job, or a problem with a text.
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "server/api_json.h"
#include "server/api_problem.h"
#include "server/api_request.h"
#include "tests/fuzz/fuzz.h"

namespace bailiff::fuzz {
namespace {

const images::Catalogue& catalogue() {
  static const images::Catalogue all = [] {
    std::string directory = std::filesystem::temp_directory_path() / "bailiff-fuzz-XXXXXX";
    require(::mkdtemp(directory.data()) != nullptr);
    std::ofstream(directory + "/c.toml")
        << "name = \"c\"\ntitle = \"C\"\naliases = [\"gcc\"]\nimage = \"host\"\nsource_file = \"main.c\"\n"
           "compile = [\"cc\", \"main.c\"]\nrun = [\"./a.out\"]\nversion_command = [\"true\"]\nhello = \"x\"\n";
    auto loaded = images::Catalogue::load(directory, {{"host", "sha256:0123", "host", ""}}, [](const auto&) { return "1"; });
    std::filesystem::remove_all(directory);
    if (!loaded) throw std::runtime_error(loaded.error().what);
    return std::move(*loaded);
  }();
  return all;
}

void check_problem(const server::Problem& problem) {
  require(problem.status >= 400 && problem.status < 500);
  require(nlohmann::json::accept(server::problem_text(problem)));
}

}  // namespace

std::vector<std::string> seeds() {
  return {
      R"({"language": "c", "source": "int main(){}", "stdin": "1 2\n", "args": ["a"], "env": {"K": "v"}, "labels": {"k": "v"}, "priority": -3})",
      R"({"language": "gcc", "files": {"main.c": "x", "a/b": {"base64": "AAEC/w=="}}, "limits": {"cpu_time_ms": 1.5, "memory_bytes": 1e8}})",
      R"({"language": "c", "source": "x", "tests": [{"name": "1", "stdin": "1", "expected": "2", "points": 0.5}], "checker": {"floats": {"absolute": 1e-6}}, "stop_on_failure": false})",
      R"({"image": "host", "steps": [{"name": "a", "command": ["ls", "-l"], "cwd": "d", "stdin": "x"}, {"command": "true", "always": true, "limits": {"wall_time_ms": 10}}]})",
      R"({"image": "host", "steps": [{"command": "cat"}], "files": {"../x": "1", "/y": "2", "z\u0000": "3"}, "network": "none", "webhook": null})",
      R"({"language": "c", "source": "x", "webhook": {"url": "https://[2606::1]:8443/a?b=%20", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})",
      R"({"language": "c", "language": "c", "source": "\ud800", "x": [[[[[[{}]]]]]], "limits": {"stack_bytes": 18446744073709551616}})",
      R"({"limits":{"cpus":1e400},"priority":1e2,"steps":[],"tests":{},"artifacts":["**"],"interactive":false})",
      "\xEF\xBB\xBF{\"language\":\"c\"}",
      "[1, -0.0, 1E+5, null, true, \"\\u00e9\\n\"]",
  };
}

}  // namespace bailiff::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  const auto parsed = server::parse_json({reinterpret_cast<const char*>(data), size});
  if (!parsed) {
    fuzz::check_problem(parsed.error());
    return 0;
  }
  const server::RequestRules rules{fuzz::catalogue(), core::default_limits(), core::ceiling_limits()};
  const auto job = server::decode_job(parsed->value, rules);
  if (!job) {
    fuzz::check_problem(job.error());
    return 0;
  }
  const auto stored = server::stored_request(*job, fuzz::catalogue());
  const auto again = server::decode_stored_request(stored, fuzz::catalogue());
  fuzz::require(again.has_value());
  fuzz::require(server::stored_request(*again, fuzz::catalogue()) == stored);
  return 0;
}
