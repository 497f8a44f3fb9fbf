// The standard streams of an interactive job over a WebSocket. The program is the test itself.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <csignal>

#include "server_websocket_client.h"

namespace bailiff::server {
namespace {

using testing::WebSocketClient;

class AttachTest : public testing::HttpServerTest {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }  // as bailiffd does

  void begin(const char* interactive = "true", HttpBounds bounds = {}) {
    start(bounds);
    id_ = post(R"({"language": "cpp", "source": "", "interactive": )" + std::string(interactive) + "}").json()["id"];
  }
  std::string target(const std::string& query = "") const { return "/v1/jobs/" + id_ + "/attach" + query; }
  void set_state(core::JobState state) {
    auto job = *store.get(id_);
    job.state = state;
    store.put(job);
  }
  /// The program of this attempt begins; what it reads from is `program_`.
  void begin_program(int attempt = 1) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    program_ = core::Fd(ends[0]);
    begin_program(attempt, core::Fd(ends[1]));
  }
  void begin_program(int attempt, core::Fd input) {
    on_loop([&] {
      set_state(core::JobState::running);
      Progress progress;
      progress.attempt = attempt;
      progress.steps.push_back({"run", {}, true});
      jobs.running[id_] = progress;
      jobs.input = std::move(input);
      jobs.live = "";
      jobs.watches.tell(id_, false);
    });
  }
  void print(const std::string& text) {
    on_loop([&] {
      *jobs.live += text;
      jobs.watches.tell(id_, false);
    });
  }
  void end_program() {
    on_loop([&] {
      jobs.input.reset();
      jobs.end(id_, core::Verdict::ok, *jobs.live);
    });
  }
  /// The next bytes of the program's input; empty at its end.
  [[nodiscard]] std::string read() const {
    char bytes[4096];
    const auto count = ::read(program_.get(), bytes, sizeof bytes);
    return {bytes, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }
  int status_of(const std::string& where, const std::string& headers = WebSocketClient::kUpgrade) const {
    WebSocketClient client(port);
    client.send("GET " + where + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
    return client.read().status;
  }
  /// As soon as the server knows that the one before has left.
  std::unique_ptr<WebSocketClient> open_soon() const {
    for (int tries = 0; tries < 1000; ++tries) {
      auto client = std::make_unique<WebSocketClient>(port);
      if (client->open(target()).status == 101) return client;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return nullptr;
  }
  static std::string next(WebSocketClient& client) { return client.read_message().payload; }

  std::string id_;
  core::Fd program_;
};

TEST_F(AttachTest, FromTheQueueToTheEnd) {
  begin();
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target()).status, 101);
  EXPECT_TRUE(client.send_message(0, "early"));
  begin_program();
  EXPECT_EQ(next(client), "\x03{\"begun\":1}");
  EXPECT_EQ(read(), "early");
  print("name? ");
  EXPECT_EQ(next(client), "\x01name? ");
  EXPECT_TRUE(client.send_message(0, "Ada\n"));
  EXPECT_EQ(read(), "Ada\n");
  print("h\xc3");  // half a character is no less a byte
  EXPECT_EQ(next(client), "\x01h\xc3");
  EXPECT_TRUE(client.send_message(3, R"({"stdin_eof": true})"));
  EXPECT_EQ(read(), "");
  EXPECT_FALSE(on_loop([&] { return jobs.input.valid(); }));
  print("bye");
  end_program();
  const auto ended = client.read_to_end();
  EXPECT_EQ(ended.out, "bye");
  EXPECT_EQ(ended.control["verdict"], "ok");
  EXPECT_TRUE(ended.control.contains("exit_code") && ended.control.contains("signal") && ended.control.contains("message"));
  EXPECT_EQ(ended.close_code, 1000);
}

TEST_F(AttachTest, AClientThatLeavesEndsNothingAndTheNextBeginsAtTheFirstByte) {
  begin();
  {
    WebSocketClient client(port);
    ASSERT_EQ(client.open(target()).status, 101);
    begin_program();
    EXPECT_EQ(next(client), "\x03{\"begun\":1}");
    print("one ");
    EXPECT_EQ(next(client), "\x01one ");
    EXPECT_EQ(status_of(target()), 409) << "one at a time";
  }
  auto client = open_soon();
  ASSERT_TRUE(client);
  EXPECT_EQ(next(*client), "\x03{\"begun\":1}");
  EXPECT_EQ(next(*client), "\x01one ");
  EXPECT_TRUE(client->send_message(0, "still here"));
  EXPECT_EQ(read(), "still here");
  end_program();
  EXPECT_EQ(client->read_to_end().control["verdict"], "ok");
}

TEST_F(AttachTest, ANextAttemptBeginsAnew) {
  begin();
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target()).status, 101);
  begin_program();
  EXPECT_EQ(next(client), "\x03{\"begun\":1}");
  print("up");
  EXPECT_EQ(next(client), "\x01up");
  begin_program(2);
  EXPECT_EQ(next(client), "\x03{\"begun\":2}");
  print("again");
  EXPECT_EQ(next(client), "\x01"
                          "again");
  EXPECT_TRUE(client.send_message(0, "typed"));
  EXPECT_EQ(read(), "typed");
  end_program();
  EXPECT_EQ(client.read_to_end().control["verdict"], "ok");
}

TEST_F(AttachTest, ANextAttemptHasNothingOfWhatWasTypedForTheLast) {
  begin();
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target()).status, 101);
  begin_program();
  EXPECT_EQ(next(client), "\x03{\"begun\":1}");
  EXPECT_TRUE(client.send_message(3, R"({"stdin_eof": true})"));
  EXPECT_EQ(read(), "");
  begin_program(2);
  EXPECT_EQ(next(client), "\x03{\"begun\":2}");
  EXPECT_TRUE(client.send_message(0, "anew"));
  EXPECT_EQ(read(), "anew");
  end_program();
  EXPECT_EQ(client.read_to_end().control["verdict"], "ok");
}

TEST_F(AttachTest, AClientThatTypesToNobodyIsMissedWhenItLeaves) {
  begin();
  begin_program();
  {
    WebSocketClient client(port);
    ASSERT_EQ(client.open(target()).status, 101);
    EXPECT_EQ(next(client), "\x03{\"begun\":1}");
    program_.reset();  // the program closes its input
    const std::string block(60'000, 'x');
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(client.send_message(0, block));
  }
  EXPECT_TRUE(open_soon());
}

TEST_F(AttachTest, ATerminal) {
  begin(R"({"tty": true})");
  core::Fd master(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  int unlock = 0;
  ASSERT_EQ(::ioctl(master.get(), TIOCSPTLCK, &unlock), 0);
  program_ = core::Fd(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios raw{};
  ASSERT_EQ(::tcgetattr(program_.get(), &raw), 0);
  ::cfmakeraw(&raw);
  ASSERT_EQ(::tcsetattr(program_.get(), TCSANOW, &raw), 0);
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target("?rows=33&cols=99")).status, 101);
  begin_program(1, std::move(master));
  EXPECT_EQ(next(client), "\x03{\"begun\":1}");
  winsize size{};
  EXPECT_EQ(::ioctl(program_.get(), TIOCGWINSZ, &size), 0);
  EXPECT_EQ(size.ws_row, 33);
  EXPECT_EQ(size.ws_col, 99);
  EXPECT_TRUE(client.send_message(3, R"({"resize": {"rows": 44, "cols": 111}})"));
  EXPECT_TRUE(client.send_message(3, R"({"stdin_eof": true})"));
  EXPECT_EQ(read(), "\x04");
  EXPECT_EQ(::ioctl(program_.get(), TIOCGWINSZ, &size), 0);
  EXPECT_EQ(size.ws_row, 44);
  EXPECT_TRUE(on_loop([&] { return jobs.input.valid(); })) << "a terminal has no end";
  end_program();
  EXPECT_EQ(client.read_to_end().close_code, 1000);
}

TEST_F(AttachTest, WhatIsRefusedBeforeTheUpgrade) {
  begin();
  EXPECT_EQ(status_of(target("?rows=0")), 400);
  EXPECT_EQ(status_of(target("?command=x")), 400);
  EXPECT_EQ(status_of("/v1/jobs/00000000000000000000000099/attach"), 404);
  EXPECT_EQ(status_of("/v1/jobs/x/attach"), 404);
  EXPECT_EQ(status_of(target(), ""), 426);
  EXPECT_EQ(status_of(target(), std::string(WebSocketClient::kUpgrade) + "Origin: http://elsewhere\r\n"), 403);
  on_loop([&] { jobs.end(id_, core::Verdict::ok, ""); });
  EXPECT_EQ(status_of(target()), 409) << "finished";
  id_ = post(kJob).json()["id"];
  EXPECT_EQ(status_of(target()), 409) << "not interactive";
}

TEST_F(AttachTest, BrokenRulesEndTheConnectionAndNotTheProgram) {
  begin();
  begin_program();
  struct Row {
    int channel;
    const char* rest;
    const char* why;
  };
  for (const auto& [channel, rest, why] :
       {Row{1, "x", "channel"}, {3, "{", "an object"}, {3, R"({"resize": {"rows": 0, "cols": 1}})", "resize"}}) {
    auto client = open_soon();
    ASSERT_TRUE(client) << why;
    EXPECT_TRUE(client->send_message(channel, rest));
    EXPECT_EQ(client->read_to_end().close_code, 1008) << why;
  }
  EXPECT_TRUE(on_loop([&] { return jobs.input.valid(); }));
}

TEST_F(AttachTest, AClientThatDoesNotReadMakesRoomForAnother) {
  HttpBounds bounds;
  bounds.websocket_drain_time = bounds.websocket_close_time = std::chrono::milliseconds(100);
  begin("true", bounds);
  begin_program();
  print(std::string(64U << 20, 'x'));
  WebSocketClient silent(port);
  ASSERT_EQ(silent.open(target()).status, 101);
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
  EXPECT_TRUE(on_loop([&] { return jobs.input.valid(); }));
}

TEST_F(AttachTest, AProgramThatDoesNotReadStopsTheClientUntilItEnds) {
  HttpBounds bounds;
  bounds.websocket_close_time = std::chrono::milliseconds(100);
  begin("true", bounds);
  begin_program();
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target()).status, 101);
  client.type_until_held_up();
  end_program();
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(AttachTest, ADeletedJob) {
  begin();
  WebSocketClient client(port);
  ASSERT_EQ(client.open(target()).status, 101);
  on_loop([&] {
    store.erase(id_);
    jobs.watches.tell(id_, true);
  });
  const auto ended = client.read_to_end();
  EXPECT_EQ(ended.control["error"], "the job was deleted");
}

}  // namespace
}  // namespace bailiff::server
