#include "cli/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "cli/local_sandbox.h"
#include "cli/render.h"
#include "images/catalogue.h"
#include "sandbox/cgroup_driver.h"
#include "sandbox/client.h"
#include "sandbox/rootless.h"

namespace bailiff::cli {
namespace {

Finding launcher_finding() {
  std::error_code code;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", code).parent_path() / "bailiff-launcher";
  const bool present = ::access(path.c_str(), X_OK) == 0;
  return {"program.bailiff-launcher", present, true, present ? path.string() : "not beside this program",
          present ? "" : "build it: script/build"};
}

/// The first program of the language that is not there; empty when all are.
std::string missing_tool(const images::Language& language) {
  for (const auto* argv : {&language.version_command, &language.compile, &language.run})
    if (!argv->empty() && !argv->front().starts_with("./") && !images::find_host_tool(argv->front(), language.env)) return argv->front();
  return "";
}

/// What the version command says in the sandbox; nothing where it fails.
std::optional<std::string> version_in(LocalSlot& slot, const images::Language& language) {
  const auto step = slot.step("version", tool_request(language, language.version_command));
  if (!step || step->outcome.verdict != core::Verdict::ok) return std::nullopt;
  return images::first_line(step->stdout_bytes.empty() ? step->stderr_bytes : step->stdout_bytes);
}

/// Which driver it comes to, and whether a launcher really starts with it.
Expected<LocalSlot> try_sandbox(sandbox::CgroupDriver wanted, std::vector<Finding>& findings) {
  const auto choice = sandbox::choose_cgroup_driver(wanted);
  findings.push_back({"cgroup.driver", choice.has_value(), true,
                      choice ? fmt::format("{}: {}", sandbox::name(choice->driver), choice->why) : choice.error().what, ""});
  if (::geteuid() != 0) return failure(kExitNoPermission, "");
  auto slot = LocalSlot::start({"host"}, wanted);
  findings.push_back({"sandbox", slot.has_value(), true, slot ? "the launcher has made its groups and a slot" : slot.error().what,
                      slot ? "" : "what is missing above"});
  return slot;
}

void add_languages(const DoctorOptions& options, std::vector<Finding>& findings) {
  // Only running a tool in the sandbox shows that it works there; where that cannot be done, its being there has to do.
  auto slot = try_sandbox(options.cgroup_driver, findings);
  const std::string directory = options.definitions.empty() ? images::default_definitions_directory() : options.definitions;
  auto host = images::host_image();
  findings.push_back({"image.host", host.has_value(), true, host ? host->digest : host.error().what,
                      host ? "" : "install a distribution with /etc/os-release"});
  if (!host) return;
  const auto all =
      images::Catalogue::load(directory, {std::move(*host)}, [](const images::Language&) { return std::optional<std::string>(""); });
  findings.push_back({"languages.definitions", all.has_value(), true,
                      all ? fmt::format("{} in {}", all->languages().size(), directory) : all.error().what,
                      all ? "" : "mend the definitions, or name their directory by --definitions DIR"});
  if (!all) return;
  for (const auto& language : all->languages()) {
    const std::string missing = missing_tool(language);
    const std::optional<std::string> version = missing.empty() && slot ? version_in(*slot, language) : std::optional<std::string>("");
    Finding finding{"language." + language.name, missing.empty() && version, false, language.title, ""};
    if (!missing.empty()) {
      finding.detail += fmt::format(": no {} that the host image shows", missing);
      if (!language.packages.empty()) finding.fix = fmt::format("apt-get install {}", fmt::join(language.packages, " "));
    } else if (!version) {
      finding.detail += ": its tools do not work in the host image";
      finding.fix = "run it in an image of its own; `bailiff run` of its hello program shows the tools' own complaint";
    } else if (!version->empty()) {
      finding.detail += ": " + *version;
    }
    findings.push_back(std::move(finding));
  }
}

/// For whom root is not given: what it would take, need by need, and the sum of it.
void add_rootless(std::vector<Finding>& findings) {
  auto needs = sandbox::probe_rootless(sandbox::this_account());
  const std::string verdict = sandbox::rootless_verdict(needs);
  for (auto& need : needs)
    findings.push_back({std::move(need.name), need.present, need.required, std::move(need.detail), std::move(need.fix)});
  findings.push_back({"rootless", false, false, verdict, "run as root"});
}

}  // namespace

std::vector<Finding> examine(const DoctorOptions& options) {
  std::vector<Finding> findings = {launcher_finding()};
  for (auto& capability : sandbox::probe_host())
    findings.push_back(
        {std::move(capability.name), capability.present, capability.required, std::move(capability.detail), std::move(capability.fix)});
  add_languages(options, findings);
  if (::geteuid() != 0) add_rootless(findings);
  return findings;
}

bool healthy(const std::vector<Finding>& findings) {
  return std::ranges::all_of(findings, [](const Finding& finding) { return finding.present || !finding.required; });
}

std::string render_findings(const std::vector<Finding>& findings, const Paint& paint) {
  Table table;
  for (const Finding& finding : findings) {
    const Table::Cell state = finding.present    ? Table::Cell{"ok", Colour::green}
                              : finding.required ? Table::Cell{"MISSING", Colour::red}
                                                 : Table::Cell{"absent", Colour::dim};
    table.add({state, {finding.name}, {finding.detail}});
    if (!finding.present && !finding.fix.empty())
      table.add({{""}, {""}, {"fix: " + finding.fix, finding.required ? Colour::yellow : Colour::dim}});
  }
  std::string page = table.render(paint);
  const auto missing = std::ranges::count_if(findings, [](const Finding& finding) { return finding.required && !finding.present; });
  page += missing == 0 ? paint(Colour::green, "everything that Bailiff needs is here")
                       : paint(Colour::red, fmt::format("{} of what Bailiff needs is missing", missing));
  return page + "\n";
}

core::Json findings_to_json(const std::vector<Finding>& findings) {
  core::Json items = core::Json::array();
  for (const Finding& finding : findings)
    items.push_back({{"name", finding.name},
                     {"present", finding.present},
                     {"required", finding.required},
                     {"detail", core::to_utf8(finding.detail)},
                     {"fix", finding.fix.empty() ? core::Json(nullptr) : core::Json(core::to_utf8(finding.fix))}});
  return core::Json{{"healthy", healthy(findings)}, {"items", std::move(items)}};
}

Expected<ExitCode> doctor(const DoctorOptions& options, const Console& console) {
  const std::vector<Finding> findings = examine(options);
  const std::string page = options.json ? findings_to_json(findings).dump(2) + "\n" : render_findings(findings, console.out.paint());
  if (auto written = console.out.write(page); !written) return failure(kExitInternal, written.error().what);
  return healthy(findings) ? kExitOk : kExitUnavailable;
}

}  // namespace bailiff::cli
