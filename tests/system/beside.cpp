// A command beside a running job and a look at its sandbox: the real `bailiff` through the real server.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/system/cli_process.h"

namespace bailiff::system_tests {
namespace {

class BesideTest : public CliTest {
 protected:
  /// A job that runs until it is cancelled; its program has begun.
  std::string begin() {
    start({"--slots", "1"});
    const auto id = submit(command({"sh", "-c", "echo up; exec sleep 100"}, {{"wall_time_ms", 100'000}}));
    EXPECT_TRUE(eventually([&] { return http().get("/v1/jobs/" + id + "/steps/0/stdout").body == "up\n"; }));
    return id;
  }
  const int no_input_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  void cancel(const std::string& id) {
    http().post("/v1/jobs/" + id + ":cancel", nullptr);
    EXPECT_EQ(wait(id).at("verdict"), "cancelled");
  }
};

TEST_F(BesideTest, ExecThroughPipes) {
  const auto id = begin();
  const auto ran = cli({"exec", "-e", "WORD=a b", id, "--", "sh", "-c", "id -u; pwd; echo $WORD; cat; hostname; exit 5"}, "in\n");
  EXPECT_EQ(ran.out, "1000\n/work\na b\nin\nbailiff\n");
  EXPECT_EQ(ran.code, 5);
  const std::string large(1 << 16, 'x');
  EXPECT_EQ(cli({"exec", id, "--", "wc", "-c"}, large).out, "65536\n");
  EXPECT_EQ(cli({"exec", id, "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"}).out.size(), 3'000'000U);
  EXPECT_EQ(cli({"exec", id, "--", "sh", "-c", "kill -9 $$"}).code, 128 + SIGKILL);
  const auto missing = cli({"exec", id, "no-such-command"});
  EXPECT_EQ(missing.code, 65) << missing.out;
  EXPECT_NE(missing.out.find("cannot execute no-such-command"), std::string::npos) << missing.out;
  EXPECT_EQ(cli({"exec", id}).code, 64);
  EXPECT_EQ(cli({"exec", "00000000000000000000000099", "true"}).code, 67);
  cancel(id);
  EXPECT_EQ(cli({"exec", id, "true"}).code, 65);
}

TEST_F(BesideTest, ExecOnATerminal) {
  const auto id = begin();
  const int ours = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  int unlock = 0;
  ASSERT_EQ(::ioctl(ours, TIOCSPTLCK, &unlock), 0);
  const int theirs = ::ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize size{31, 97, 0, 0};
  ASSERT_EQ(::ioctl(ours, TIOCSWINSZ, &size), 0);
  termios before{}, meanwhile{}, after{};
  ASSERT_EQ(::tcgetattr(theirs, &before), 0);
  const pid_t pid = start_cli({"exec", "--server", server_->url(), "-t", id, "--", "sh"}, theirs, theirs);
  std::string screen;
  const auto type = [&](std::string_view keys) { EXPECT_EQ(::write(ours, keys.data(), keys.size()), static_cast<ssize_t>(keys.size())); };
  const auto appears = [&](std::string_view text) {
    while (screen.find(text) == std::string::npos)
      if (!read_more(ours, screen)) return false;
    return true;
  };
  type("echo si''ze $(stty size) $(tty)\n");
  EXPECT_TRUE(appears("size 31 97 /dev/pts/0")) << screen;
  EXPECT_EQ(::tcgetattr(theirs, &meanwhile), 0);
  EXPECT_EQ(meanwhile.c_lflag & (ECHO | ICANON | ISIG), 0U) << "the program's own terminal echoes and cooks";
  size.ws_row = 45;
  ASSERT_EQ(::ioctl(ours, TIOCSWINSZ, &size), 0);
  type("while [ \"$(stty size)\" != '45 97' ]; do sleep 0.02; done; echo re''sized\n");
  EXPECT_TRUE(appears("resized")) << screen;
  type("(echo st''arted; exec sleep 100)\n");  // once it speaks, it is the terminal's foreground group, and the one that ^C ends
  EXPECT_TRUE(appears("started")) << screen;
  type("\x03");
  type("echo af''ter; exit 3\n");
  EXPECT_TRUE(appears("after")) << screen;
  EXPECT_EQ(code_of(pid), 3);
  EXPECT_EQ(::tcgetattr(theirs, &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag) << "the terminal is put back";
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  ::close(theirs);
  ::close(ours);
  cancel(id);
}

TEST_F(BesideTest, CancelWhileExecIsOpen) {
  const auto id = begin();
  int out[2];
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  const pid_t pid = start_cli({"exec", "--server", server_->url(), id, "--", "sh", "-c", "echo in; sleep 100"}, no_input_, out[1]);
  ::close(out[1]);
  std::string text;
  ASSERT_TRUE(read_more(out[0], text));
  EXPECT_EQ(text, "in\n");
  cancel(id);
  EXPECT_EQ(code_of(pid), 128 + SIGKILL);
  ::close(out[0]);
}

TEST_F(BesideTest, AClientThatIsKilledLeavesNothing) {
  const auto id = begin();
  int out[2];
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  const pid_t pid = start_cli({"exec", "--server", server_->url(), id, "sleep", "77"}, no_input_, out[1]);
  ::close(out[1]);
  const auto processes = [&] { return http().get("/v1/jobs/" + id + "/namespaces").json().at("processes").size(); };
  EXPECT_TRUE(eventually([&] { return processes() == 3; }));
  ::kill(pid, SIGKILL);
  EXPECT_EQ(code_of(pid), 1000 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return processes() == 2; }));
  ::close(out[0]);
  cancel(id);
}

TEST_F(BesideTest, Inspect) {
  const auto id = begin();
  const auto seen = http().get("/v1/jobs/" + id + "/namespaces").json();
  EXPECT_EQ(seen.at("namespaces").size(), 8U) << seen;
  EXPECT_EQ(seen.at("step").at("name"), "it");
  const auto page = cli({"inspect", id});
  EXPECT_EQ(page.code, 0);
  for (const char* word : {"namespace", "user", "time", "cgroup", "host pid", "sleep", "slot0"})
    EXPECT_NE(page.out.find(word), std::string::npos) << word << " in\n" << page.out;
  for (const auto& one : seen.at("namespaces"))
    EXPECT_NE(page.out.find(std::to_string(one.at("inode").get<std::uint64_t>())), std::string::npos) << page.out;
  EXPECT_EQ(Json::parse(cli({"inspect", "--json", id}).out).at("job"), id);
  cancel(id);
  EXPECT_EQ(cli({"inspect", id}).code, 65);
  EXPECT_EQ(cli({"inspect", "00000000000000000000000099"}).code, 67);
}

}  // namespace
}  // namespace bailiff::system_tests
