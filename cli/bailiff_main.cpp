// bailiff: run programs locally, talk to a server, examine the host.
#include <fmt/format.h>
#include <unistd.h>

#include <exception>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/exit_code.h"

int main(int argc, char** argv) {
  using namespace bailiff::cli;
  const Console console{Stream(STDOUT_FILENO), Stream(STDERR_FILENO)};
  try {
    return run_app(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), console);
  } catch (const std::exception& fault) {
    (void)console.err.write(fmt::format("bailiff: unexpected: {}\n", sanitise_line(fault.what())));
    return kExitInternal;
  }
}
