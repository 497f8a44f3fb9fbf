// Interactive jobs: the real `bailiff` through the real server to a program that reads while it runs.
#include <signal.h>

#include "core/fd.h"
#include "tests/system/cli_process.h"

namespace bailiff::system_tests {
namespace {

class AttachTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    start({"--slots", "1"});
  }
  std::string begin(const std::string& script, Json interactive) {
    auto job = command({"sh", "-c", script}, {{"wall_time_ms", 60'000}});
    job["interactive"] = std::move(interactive);
    return submit(job);
  }
  std::string file(const std::string& name, const std::string& text) const {
    const auto path = data() + "/../" + name;
    const core::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return path;
  }
};

/// A `bailiff` that goes on while the test types and reads.
class Cli {
 public:
  explicit Cli(const std::vector<std::string>& arguments) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    const core::Fd theirs_in(in[0]), theirs_out(out[1]);
    input_ = core::Fd(in[1]);
    output_ = core::Fd(out[0]);
    pid_ = start_cli(arguments, in[0], out[1]);
  }
  void type(std::string_view text) const { EXPECT_EQ(::write(input_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size())); }
  void end_input() { input_.reset(); }
  bool says(std::string_view text) {
    while (!heard_.contains(text))
      if (!read_more(output_.get(), heard_)) return false;
    return true;
  }
  void kill() const { ::kill(pid_, SIGKILL); }
  int code() {
    while (read_more(output_.get(), heard_)) {}
    return code_of(pid_);
  }
  const std::string& heard() const { return heard_; }

 private:
  pid_t pid_ = -1;
  core::Fd input_, output_;
  std::string heard_;
};

TEST_F(AttachTest, ADialogueThroughPipes) {
  const auto source = file("guess.sh", "echo name?; read name; echo hello $name; cat; exit 7\n");
  Cli cli({"submit", "--server", server_->url(), "-i", "-l", "bash", source});
  EXPECT_TRUE(cli.says("name?\n"));
  cli.type("Ada\n");
  EXPECT_TRUE(cli.says("hello Ada\n")) << cli.heard();
  cli.type("the rest");
  EXPECT_TRUE(cli.says("the rest"));
  cli.end_input();
  EXPECT_EQ(cli.code(), 1) << cli.heard();
  EXPECT_TRUE(cli.heard().contains("exited with code 7")) << cli.heard();
}

TEST_F(AttachTest, AProgramThatIsOverAtOnceIsShownAllTheSame) {
  const auto source = file("quick.sh", "echo quick\n");
  for (int i = 0; i < 20; ++i) {
    Cli cli({"submit", "--server", server_->url(), "-i", "-l", "bash", source});
    EXPECT_EQ(cli.code(), 0) << cli.heard();
    EXPECT_TRUE(cli.heard().starts_with("quick\nbailiff: ok")) << cli.heard();
  }
}

TEST_F(AttachTest, WhatDoesNotCompileIsShownAndEnds) {
  if (!has_language("c")) GTEST_SKIP() << "no C compiler";
  const auto source = file("bad.c", "int main(void) { retrun 0; }\n");
  Cli cli({"submit", "--server", server_->url(), "-i", source});
  EXPECT_EQ(cli.code(), 3) << cli.heard();
  EXPECT_TRUE(cli.heard().contains("retrun")) << cli.heard();
}

TEST_F(AttachTest, AJobGoesOnWithoutItsClientAndTheNextOneSeesAll) {
  const auto id = begin("echo first; read a; echo got $a; read b; echo got $b", true);
  {
    Cli lost({"attach", "--server", server_->url(), id});
    EXPECT_TRUE(lost.says("first\n"));
    lost.type("one\n");
    EXPECT_TRUE(lost.says("got one\n"));
    Cli second({"attach", "--server", server_->url(), id});
    EXPECT_EQ(second.code(), 65);
    EXPECT_TRUE(second.heard().contains("somebody is attached")) << second.heard();
    lost.kill();
    EXPECT_EQ(lost.code(), 1000 + SIGKILL);
  }
  EXPECT_EQ(state_of(id), "running");
  std::optional<Cli> next;
  EXPECT_TRUE(eventually([&] {  // until the server has seen that the first one is gone
    next.emplace(std::vector<std::string>{"attach", "--server", server_->url(), id});
    return next->says("got one\n") || (next->code(), false);
  }));
  next->type("two\n");
  EXPECT_EQ(next->code(), 0) << next->heard();
  EXPECT_TRUE(next->heard().starts_with("first\ngot one\ngot two\n")) << next->heard();
  Cli late({"attach", "--server", server_->url(), id});
  EXPECT_EQ(late.code(), 65);
  EXPECT_TRUE(late.heard().contains("finished")) << late.heard();
}

TEST_F(AttachTest, OneThatWaitsInTheQueueIsAttachedAlready) {
  const auto first = begin("read a", true);
  const auto waiting = begin("read a; echo $a", true);
  Cli cli({"attach", "--server", server_->url(), waiting});
  cli.type("typed early\n");
  EXPECT_EQ(state_of(waiting), "queued");
  http().post("/v1/jobs/" + first + ":cancel", nullptr);
  EXPECT_EQ(cli.code(), 0) << cli.heard();
  EXPECT_TRUE(cli.heard().starts_with("typed early\n")) << cli.heard();
}

TEST_F(AttachTest, ATerminal) {
  const auto id = begin("stty size; read a; echo got $a; stty -echo; echo secret?; read b; echo done", {{"tty", true}});
  const int ours = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  int unlock = 0;
  ASSERT_EQ(::ioctl(ours, TIOCSPTLCK, &unlock), 0);
  const int theirs = ::ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  const winsize size{31, 97, 0, 0};
  ASSERT_EQ(::ioctl(ours, TIOCSWINSZ, &size), 0);
  EXPECT_TRUE(eventually([&] { return http().get("/v1/jobs/" + id + "/steps/0/stdout").body.contains("24 80"); }));
  const pid_t pid = start_cli({"attach", "--server", server_->url(), id}, theirs, theirs);
  std::string screen;
  const auto appears = [&](std::string_view text) {
    while (!screen.contains(text))
      if (!read_more(ours, screen)) return false;
    return true;
  };
  const auto type = [&](std::string_view keys) { EXPECT_EQ(::write(ours, keys.data(), keys.size()), static_cast<ssize_t>(keys.size())); };
  EXPECT_TRUE(appears("24 80\r\n")) << screen;
  type("word\r");
  EXPECT_TRUE(appears("word\r\ngot word\r\n")) << screen;
  EXPECT_TRUE(appears("secret?")) << screen;
  type("hidden\r");
  EXPECT_TRUE(appears("done\r\n")) << screen;
  EXPECT_TRUE(appears("bailiff: ok")) << screen;
  EXPECT_FALSE(screen.contains("hidden")) << screen;
  EXPECT_EQ(code_of(pid), 0);
  ::close(theirs);
  ::close(ours);
}

// A slot that dies takes the attempt along: the next one begins anew, before the same client.
TEST_F(AttachTest, ANextAttemptBeginsAnew) {
  const auto id = begin("echo up; read a; echo got $a", true);
  Cli cli({"attach", "--server", server_->url(), id});
  EXPECT_TRUE(cli.says("up\n"));
  const auto seen = http().get("/v1/jobs/" + id + "/namespaces").json();
  const auto init = seen.at("processes").at(0).at("host_pid").get<pid_t>();
  ASSERT_EQ(::kill(init, SIGKILL), 0);
  EXPECT_TRUE(cli.says("up\nup\n")) << cli.heard();
  cli.type("again\n");
  EXPECT_EQ(cli.code(), 0) << cli.heard();
  EXPECT_TRUE(cli.heard().contains("got again\n")) << cli.heard();
  EXPECT_EQ(http().get("/v1/jobs/" + id).json().at("attempt"), 2);
}

TEST_F(AttachTest, NotInteractive) {
  const auto id = submit(command({"sleep", "20"}));
  Cli cli({"attach", "--server", server_->url(), id});
  EXPECT_EQ(cli.code(), 65);
  EXPECT_TRUE(cli.heard().contains("not interactive")) << cli.heard();
  http().post("/v1/jobs/" + id + ":cancel", nullptr);
}

}  // namespace
}  // namespace bailiff::system_tests
