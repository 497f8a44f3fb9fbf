// What the launcher and its slots are told, by a bailiffd that may have been taken over; and what bailiffd is told by them. The first byte
// says which message the rest is. What is accepted is encoded and decoded to the same bytes again.
#include "sandbox/message.h"
#include "sandbox/exec_message.h"
#include "sandbox/glob.h"
#include "tests/fuzz/fuzz.h"

namespace bailiff::fuzz {
namespace {

using namespace sandbox;

const LauncherConfig& config() {
  static const LauncherConfig all = [] {
    LauncherConfig made;
    made.images = {{"host", Image::Kind::host, ""}};
    return made;
  }();
  return all;
}

StepRequest good_request() {
  StepRequest request;
  request.image = "host";
  request.argv = {"/bin/sh", "-c", "true"};
  request.env = {"A=b", "PATH=/usr/bin"};
  request.cwd = "a/b";
  request.collect = {"out/**", "*.[ch]"};
  request.collect_bytes = 1000;
  return request;
}

template <class T, class Encode, class Decode>
void round_trip(const core::Result<T>& decoded, Encode encode, Decode decode) {
  if (!decoded) return;
  const std::string bytes = encode(*decoded);
  const auto again = decode(bytes);
  require(again.has_value());
  require(encode(*again) == bytes);
}

void request(std::string_view bytes) {
  const auto decoded = decode_request(bytes);
  if (!decoded) return;
  round_trip(decoded, [](const auto& value) { return encode_request(value); }, [](const auto& text) { return decode_request(text); });
  if (!check_request(*decoded, config())) return;
  require(decoded->image == "host" && !decoded->argv.empty());
  for (const auto& argument : decoded->argv) require(argument.find('\0') == std::string::npos);
  require(!decoded->cwd.starts_with('/') && ("/" + decoded->cwd + "/").find("/../") == std::string::npos);
  for (const auto& pattern : decoded->collect) (void)glob_matches(pattern.substr(0, 256), "a/b/c.h");
}

}  // namespace

std::vector<std::string> seeds() {
  StepReport report;
  report.outcome.exit_code = 3;
  report.outcome.message = "exited";
  report.outcome.evidence = {{"oom_kill", 1}, {"throttled_ms", 20}};
  ExecRequest exec;
  exec.argv = {"sh"};
  exec.env = {"TERM=xterm"};
  exec.terminal = true;
  Inspection inspection;
  inspection.namespaces = {{"pid", 1, 2, 3, 4}};
  inspection.groups = {{"cpu,cpuacct", "/x"}};
  inspection.processes = {{10, 1, "sh"}};
  LauncherConfig other = config();
  other.slot_cpus = {"0", "2-3"};
  return {"r" + encode_request(good_request()),
          "p" + encode_report(std::move(report)),
          "p" + encode_report(core::error(core::ErrorKind::unavailable, "no")),
          "c" + encode_config(other),
          "x" + encode_exec(exec),
          "i" + encode_inspection(inspection),
          "gout/**/[a-z]*.?\n"
          "out/a/b/c.txt",
          "g**/**/**/**/**/**/a*a*a*a*a*a*b\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaa"};
}

}  // namespace bailiff::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bailiff;
  using namespace bailiff::sandbox;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'r': fuzz::request(bytes); break;
    case 'p': (void)decode_report(bytes); break;
    case 'c':
      fuzz::round_trip(
          decode_config(bytes), [](const auto& value) { return encode_config(value); },
          [](const auto& text) { return decode_config(text); });
      break;
    case 'x':
      fuzz::round_trip(
          decode_exec(bytes), [](const auto& value) { return encode_exec(value); }, [](const auto& text) { return decode_exec(text); });
      break;
    case 'i':
      fuzz::round_trip(
          decode_inspection(bytes), [](const auto& value) { return encode_inspection(value); },
          [](const auto& text) { return decode_inspection(text); });
      break;
    default: {
      const auto line = bytes.find('\n');
      if (line != std::string_view::npos && line < 128) (void)glob_matches(bytes.substr(0, line), bytes.substr(line + 1, 512));
    }
  }
  return 0;
}
