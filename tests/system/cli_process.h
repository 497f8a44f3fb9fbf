#pragma once
// The real `bailiff`, its standard streams in the test's hands.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/server_process.h"

namespace bailiff::system_tests {

struct CliResult {
  int code = -1;
  std::string out;
};

/// Appends what comes next; false at the end or when nothing comes in time.
inline bool read_more(int fd, std::string& text) {
  pollfd ready{fd, POLLIN, 0};
  char bytes[4096];
  if (::poll(&ready, 1, 30'000) != 1) return false;
  const auto count = ::read(fd, bytes, sizeof bytes);
  if (count > 0) text.append(bytes, static_cast<std::size_t>(count));
  return count > 0;
}

/// A `bailiff` whose standard streams are those given.
inline pid_t start_cli(const std::vector<std::string>& arguments, int in, int out) {
  std::vector<char*> argv = {const_cast<char*>(BAILIFF_PATH)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::setsid();
  if (::isatty(in) == 1) ::ioctl(in, TIOCSCTTY, 0);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

inline int code_of(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

class CliTest : public SystemTest {
 protected:
  CliResult cli(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin() + 1, {"--server", server_->url()});
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    const pid_t pid = start_cli(arguments, in[0], out[1]);
    ::close(in[0]);
    ::close(out[1]);
    EXPECT_EQ(::write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
    ::close(in[1]);
    CliResult result;
    while (read_more(out[0], result.out)) {}
    ::close(out[0]);
    result.code = code_of(pid);
    return result;
  }
};

}  // namespace bailiff::system_tests
