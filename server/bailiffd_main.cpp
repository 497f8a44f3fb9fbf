// bailiffd: settings, then the daemon (server/daemon.h tells the order of everything).
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/daemon.h"
#include "server/log.h"

int main(int argc, char** argv) {
  using namespace bailiff::server;
  constexpr int kUsageError = 2, kFailure = 1;
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const auto line = load_config(std::vector<std::string>(argv + 1, argv + argc), environment);
  if (!line) {
    std::fprintf(stderr, "bailiffd: %s\n", line.error().what.c_str());
    return kUsageError;
  }
  if (line->action != CommandLine::Action::run) {
    const auto text = line->action == CommandLine::Action::print_config ? print_config(line->config) : line->text;
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  if (::geteuid() != 0) {
    std::fputs("bailiffd: must be started as root: it starts the sandbox launcher and then gives up every privilege itself\n", stderr);
    return kFailure;
  }
  start_log(log_level_from_name(line->config.log_level).value_or(LogLevel::info));
  return run_daemon(line->config);
}
