// exec and inspect: what is asked of the server, and what of its answers reaches a terminal.
#include "cli/exec.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/http_client.h"
#include "cli/raw_terminal.h"
#include "cli/render.h"
#include "core/fd.h"

namespace bailiff::cli {
namespace {

TEST(ParseServer, TakesUrlsApart) {
  struct Row {
    const char* url;
    bool tls;
    const char *host, *port, *host_header, *path;
  };
  const Row rows[] = {{"http://127.0.0.1:8080", false, "127.0.0.1", "8080", "127.0.0.1:8080", ""},
                      {"http://x/", false, "x", "80", "x", ""},
                      {"https://x", true, "x", "443", "x", ""},
                      {"https://x:9/a/b/", true, "x", "9", "x:9", "/a/b"},
                      {"http://[::1]:8080", false, "::1", "8080", "[::1]:8080", ""}};
  for (const auto& row : rows) {
    const auto address = parse_server(row.url);
    ASSERT_TRUE(address) << row.url;
    EXPECT_EQ(address->tls, row.tls) << row.url;
    EXPECT_EQ(address->host, row.host) << row.url;
    EXPECT_EQ(address->port, row.port) << row.url;
    EXPECT_EQ(address->host_header, row.host_header) << row.url;
    EXPECT_EQ(address->path, row.path) << row.url;
  }
  for (const char* url : {"", "x", "ftp://x", "http://", "file:///etc", "http://x:y"}) EXPECT_FALSE(parse_server(url)) << url;
}

TEST(ExecTarget, KeepsEveryWord) {
  ExecOptions options;
  options.id = "a/b";
  options.command = {"sh", "-c", "echo \"a&b\" + ?#\xff"};
  options.env = {"K=v w"};
  EXPECT_EQ(exec_target(options),
            "/v1/jobs/a%2Fb/exec?tty=false&command=sh&command=-c&command=echo%20%22a%26b%22%20%2B%20%3F%23%FF&env=K%3Dv%20w");
}

TEST(RawTerminal, IsPutBackAndLeavesOthersAlone) {
  const core::Fd ours(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  int unlock = 0;
  ASSERT_EQ(::ioctl(ours.get(), TIOCSPTLCK, &unlock), 0);
  const core::Fd theirs(::ioctl(ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios before{}, meanwhile{}, after{};
  ASSERT_EQ(::tcgetattr(theirs.get(), &before), 0);
  {
    const RawTerminal raw(theirs.get());
    ASSERT_EQ(::tcgetattr(theirs.get(), &meanwhile), 0);
    EXPECT_EQ(meanwhile.c_lflag & (ECHO | ICANON | ISIG), 0U);
  }
  ASSERT_EQ(::tcgetattr(theirs.get(), &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  { const RawTerminal none(ends[0]); }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(RenderSandbox, IsATableWithoutControlCharacters) {
  const auto sandbox = core::Json::parse(R"({
    "job": "j1", "test": {"index": 4, "name": "big\u001b[2J"}, "slot": 3, "memory_bytes": 1048576, "processes_now": 2,
    "namespaces": [{"type": "user", "inode": 11, "owner_uid": 0, "owner": 13, "parent": 13},
                   {"type": "uts", "inode": 4026531838, "owner_uid": 12, "owner": 11, "parent": null}],
    "cgroups": [{"controllers": ["cpu", "cpuacct"], "path": "/a"}, {"controllers": [], "path": "/b"}],
    "processes": [{"pid": 2, "host_pid": 4711, "name": "a\nb\u001b]0;evil\u0007"}], "processes_truncated": true})");
  EXPECT_EQ(render_sandbox(sandbox, Paint(false)), "job j1, test 4 \"big^[[2J\" in slot 3: 1.0 MiB, 2 processes and threads\n"
                                                   "\n"
                                                   "namespace  inode       owner uid  owner  parent\n"
                                                   "user       11          0          13     13\n"
                                                   "uts        4026531838  12         11     -\n"
                                                   "\n"
                                                   "controllers  cgroup\n"
                                                   "cpu,cpuacct  /a\n"
                                                   "(v2)         /b\n"
                                                   "\n"
                                                   "pid  host pid  name\n"
                                                   "2    4711      a b^[]0;evil^G\n"
                                                   "--- there are more processes\n");
  for (const char* odd : {"null", "[]", "{}", R"({"namespaces": 1, "cgroups": [1], "processes": [{"pid": "x"}], "step": []})"})
    EXPECT_FALSE(render_sandbox(core::Json::parse(odd), Paint(false)).empty()) << odd;
}

}  // namespace
}  // namespace bailiff::cli
