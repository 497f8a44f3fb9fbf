#pragma once
// `bailiff doctor`: what this machine has of what Bailiff uses, and the exact fix for what it lacks.
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/terminal.h"
#include "sandbox/client.h"

namespace bailiff::cli {

struct Finding {
  std::string name;
  bool present = false;
  bool required = true;  // a language's tools are not
  std::string detail, fix;
};

struct DoctorOptions {
  std::string definitions;  // empty: those that came with the program
  sandbox::CgroupDriver cgroup_driver = sandbox::CgroupDriver::automatic;
  bool json = false;
};

/// Looks at the host; changes nothing. As root it asks each language's tools for their version in a sandbox.
[[nodiscard]] std::vector<Finding> examine(const DoctorOptions& options);
[[nodiscard]] std::string render_findings(const std::vector<Finding>& findings, const Paint& paint);
[[nodiscard]] core::Json findings_to_json(const std::vector<Finding>& findings);
/// True when nothing that is required is missing.
[[nodiscard]] bool healthy(const std::vector<Finding>& findings);

[[nodiscard]] Expected<ExitCode> doctor(const DoctorOptions& options, const Console& console);

}  // namespace bailiff::cli
