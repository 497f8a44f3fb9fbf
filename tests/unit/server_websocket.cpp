// Commands beside a program over a WebSocket: the handshake, the frame protocol, back-pressure, ends. The program is the test itself.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include <csignal>
#include <cstdlib>

#include "sandbox/exec_message.h"
#include "sandbox/socket.h"
#include "server_websocket_client.h"

namespace bailiff::server {
namespace {

using testing::Frame;
using testing::WebSocketClient;

constexpr int kExited7 = 7 << 8;

/// The command's ends of a session.
struct Command {
  core::Fd control, in, out, err;
  void end(int wait_status) { EXPECT_TRUE(sandbox::send_message(control.get(), sandbox::encode_exec_end(wait_status))); }
  static void print(const core::Fd& fd, std::string_view text) {
    EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// The next bytes of its input; empty at the end.
  [[nodiscard]] std::string read() const {
    char bytes[4096];
    const auto count = ::read(in.get(), bytes, sizeof bytes);
    return {bytes, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }
  /// True when the server let go of it.
  [[nodiscard]] bool is_abandoned() const {
    pollfd entry{control.get(), 0, 0};
    return ::poll(&entry, 1, 10'000) == 1 && (entry.revents & POLLHUP) != 0;
  }
};

class ExecTest : public testing::HttpServerTest {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }  // as bailiffd does

  void begin(HttpBounds bounds = {}) {
    start(bounds);
    id_ = post(kJob).json()["id"];
    set_state(core::JobState::running);
  }
  void set_state(core::JobState state) {
    auto job = *store.get(id_);
    job.state = state;
    store.put(job);
  }
  std::string target(const std::string& query = "command=sh") const { return "/v1/jobs/" + id_ + "/exec?" + query; }

  /// The next exec gets three pipes.
  Command offer_pipes() {
    Command command;
    sandbox::ExecSession session;
    auto control = sandbox::socket_pair();
    EXPECT_TRUE(control);
    std::tie(session.control, command.control) = std::move(*control);
    for (auto [read_end, write_end] :
         {std::pair{&command.in, &session.input}, {&session.output, &command.out}, {&session.errors, &command.err}}) {
      int ends[2];
      EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
      *read_end = core::Fd(ends[0]);
      *write_end = core::Fd(ends[1]);
    }
    on_loop([&] { jobs.command = std::move(session); });
    return command;
  }
  /// The same with a terminal: `in` is its other end.
  Command offer_terminal() {
    Command command;
    sandbox::ExecSession session;
    auto control = sandbox::socket_pair();
    std::tie(session.control, command.control) = std::move(*control);
    session.input = core::Fd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
    int unlock = 0;
    EXPECT_EQ(::ioctl(session.input.get(), TIOCSPTLCK, &unlock), 0);
    command.in = core::Fd(::ioctl(session.input.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(command.in.valid());
    termios raw{};
    EXPECT_EQ(::tcgetattr(command.in.get(), &raw), 0);
    ::cfmakeraw(&raw);
    EXPECT_EQ(::tcsetattr(command.in.get(), TCSANOW, &raw), 0);
    on_loop([&] { jobs.command = std::move(session); });
    return command;
  }

  std::string id_;
};

TEST_F(ExecTest, RunsACommandThroughPipes) {
  begin();
  auto command = offer_pipes();
  WebSocketClient client(port);
  const auto answer = client.open(target("command=sh&command=-c&command=echo+%22x%22&env=A%3Db%3Dc&tty=false"));
  EXPECT_EQ(answer.status, 101);
  EXPECT_EQ(answer.headers.at("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455 section 1.3
  EXPECT_TRUE(client.send_message(0, "typed"));
  EXPECT_EQ(command.read(), "typed");
  Command::print(command.out, std::string_view("out\0\xff", 5));
  Command::print(command.err, "err");
  EXPECT_TRUE(client.send_message(3, R"({"stdin_eof": true})"));
  EXPECT_EQ(command.read(), "");
  command.end(kExited7);
  const auto ended = client.read_to_end();
  EXPECT_EQ(ended.out, std::string_view("out\0\xff", 5));
  EXPECT_EQ(ended.err, "err");
  EXPECT_EQ(ended.control, nlohmann::json({{"exit_code", 7}}));
  EXPECT_EQ(ended.close_code, 1000);
  EXPECT_TRUE(client.closed());
  const auto request = on_loop([&] { return jobs.exec_request; });
  EXPECT_EQ(request.argv, (std::vector<std::string>{"sh", "-c", "echo \"x\""}));
  EXPECT_FALSE(request.terminal);
  EXPECT_TRUE(std::ranges::count(request.env, "A=b=c") == 1 && std::ranges::count(request.env, "TERM=dumb") == 1);
  EXPECT_TRUE(std::ranges::any_of(request.env, [](const auto& entry) { return entry.starts_with("PATH=/"); }));
}

TEST_F(ExecTest, RunsACommandOnATerminal) {
  begin();
  auto command = offer_terminal();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target("command=sh&tty=true&rows=33&cols=99")).status, 101);
  EXPECT_TRUE(client.send_message(0, "typed"));
  EXPECT_EQ(command.read(), "typed");
  EXPECT_TRUE(client.send_message(3, R"({"resize": {"rows": 44, "cols": 111}})"));
  EXPECT_TRUE(client.send_message(3, R"({"stdin_eof": true})"));
  EXPECT_EQ(command.read(), "\x04");
  winsize size{};
  EXPECT_EQ(::ioctl(command.in.get(), TIOCGWINSZ, &size), 0);
  EXPECT_EQ(size.ws_row, 44);
  EXPECT_EQ(size.ws_col, 111);
  Command::print(command.in, "screen");
  command.end(SIGINT);
  const auto ended = client.read_to_end();
  EXPECT_EQ(ended.out, "screen");
  EXPECT_EQ(ended.control, nlohmann::json({{"signal", SIGINT}}));
  EXPECT_EQ(ended.close_code, 1000);
  const auto request = on_loop([&] { return jobs.exec_request; });
  EXPECT_TRUE(request.terminal);
  EXPECT_EQ(request.rows, 33);
  EXPECT_EQ(request.columns, 99);
}

TEST_F(ExecTest, EndsThoughOthersHoldItsOutputOpen) {
  begin();
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  const std::string large(60'000, 'x');  // fits into the pipe
  Command::print(command.out, large);
  command.end(0);
  const auto ended = client.read_to_end();
  EXPECT_EQ(ended.out, large);
  EXPECT_EQ(ended.control, nlohmann::json({{"exit_code", 0}}));
  EXPECT_EQ(ended.close_code, 1000);
}

TEST_F(ExecTest, ASessionThatIsLostIsAnError) {
  begin();
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  command.control.reset();
  const auto ended = client.read_to_end();
  EXPECT_TRUE(ended.control.contains("error"));
  EXPECT_EQ(ended.close_code, 1000);
}

TEST_F(ExecTest, RefusalsBeforeTheUpgrade) {
  begin();
  struct Row {
    std::string target, headers;
    int status;
  };
  const Row rows[] = {{"/v1/jobs/00000000000000000000000099/exec?command=sh", "", 404},
                      {"/v1/jobs/nope/exec?command=sh", "", 404},
                      {target(""), "", 400},
                      {target("command="), "", 400},
                      {target("command=sh&tty=yes"), "", 400},
                      {target("command=sh&rows=0"), "", 400},
                      {target("command=sh&cols=10000"), "", 400},
                      {target("command=sh&env=x"), "", 400},
                      {target("command=sh&shell=1"), "", 400},
                      {target(), "Origin: https://evil.example\r\n", 403},
                      {target(), "Origin: null\r\n", 403},
                      {target(), "Origin: http://x.evil.example\r\n", 403},
                      {target(), "Origin: http://x\r\nOrigin: http://evil.example\r\n", 403}};
  for (const auto& row : rows) {
    WebSocketClient client(port);
    const auto answer = client.open(row.target, row.headers);
    EXPECT_EQ(answer.status, row.status) << row.target << row.headers;
    EXPECT_EQ(answer.headers.at("content-type"), "application/problem+json");
  }
  EXPECT_EQ(ask("GET", target()).status, 426);
  EXPECT_EQ(ask("GET", target()).headers.at("upgrade"), "websocket");
  EXPECT_EQ(ask("HEAD", target()).status, 426);
  EXPECT_EQ(ask("POST", target()).status, 405);
  EXPECT_EQ(ask("GET", target(), "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n").status, 400);
  set_state(core::JobState::queued);
  EXPECT_EQ(WebSocketClient(port).open(target()).status, 409);
  EXPECT_TRUE(on_loop([&] { return jobs.exec_request.argv.empty(); }));
}

TEST_F(ExecTest, TheServersOwnPagesMayConnect) {
  begin();
  for (const char* origin : {"http://x", "http://X:80", "https://x", "https://x:443"}) {
    auto command = offer_pipes();
    WebSocketClient client(port);
    EXPECT_EQ(client.open(target(), "Origin: " + std::string(origin) + "\r\n").status, 101) << origin;
  }
}

TEST_F(ExecTest, WhatCannotBeRunIsToldOnTheControlChannel) {
  using core::ErrorKind;
  begin();
  const std::pair<core::Error, const char*> rows[] = {
      {{ErrorKind::invalid, "cannot execute x: No such file", 0}, "cannot execute x: No such file"},
      {{ErrorKind::conflict, "/secret", 0}, "nothing of the job runs now"},
      {{ErrorKind::unavailable, "/secret", 0}, "takes no more"},
      {{ErrorKind::internal, "/secret", 0}, "its log tells why"}};
  for (const auto& [refusal, text] : rows) {
    on_loop([&] { jobs.exec_refusal = refusal; });
    WebSocketClient client(port);
    EXPECT_EQ(client.open(target()).status, 101);
    const auto ended = client.read_to_end();
    EXPECT_NE(ended.control["error"].get<std::string>().find(text), std::string::npos) << ended.control;
    EXPECT_EQ(ended.control.dump().find("secret"), std::string::npos);
    EXPECT_EQ(ended.close_code, 1011);
  }
}

TEST_F(ExecTest, BrokenRulesEndTheConnectionAndTheCommand) {
  HttpBounds bounds;
  bounds.websocket_message_bytes = 1000;
  begin(bounds);
  struct Row {
    const char* what;
    std::function<void(WebSocketClient&)> act;
    int close_code;
  };
  const auto control = [](std::string text) { return [text](WebSocketClient& c) { c.send_message(3, text); }; };
  const Row rows[] = {{"text", [](auto& c) { c.send_frame(1, "text"); }, 1003},
                      {"channel", [](auto& c) { c.send_message(1, "x"); }, 1008},
                      {"no channel", [](auto& c) { c.send_frame(2, ""); }, 1008},
                      {"no json", control("{"), 1008},
                      {"no object", control("[]"), 1008},
                      {"two members", control(R"({"stdin_eof": true, "resize": {"rows": 1, "cols": 1}})"), 1008},
                      {"unknown", control(R"({"kill": 9})"), 1008},
                      {"no size", control(R"({"resize": {"rows": 0, "cols": 1}})"), 1008},
                      {"size as text", control(R"({"resize": {"rows": "1", "cols": 1}})"), 1008},
                      {"large size", control(R"({"resize": {"rows": 1, "cols": 4294967297}})"), 1008},
                      {"too large", [](auto& c) { c.send_message(0, std::string(1000, 'x')); }, 1009},
                      {"unmasked", [](auto& c) { c.send_frame(2, std::string(1, '\0') + "x", false); }, 1002},
                      {"reserved opcode", [](auto& c) { c.send_frame(3, "x"); }, 1002},
                      {"fragmented ping", [](auto& c) { c.send_frame(9, "x", true, false); }, 1002}};
  for (const auto& row : rows) {
    auto command = offer_pipes();
    WebSocketClient client(port);
    EXPECT_EQ(client.open(target()).status, 101);
    row.act(client);
    const auto ended = client.read_to_end();
    EXPECT_EQ(ended.close_code, row.close_code) << row.what;
    client.close();
    EXPECT_TRUE(command.is_abandoned()) << row.what;
  }
  EXPECT_EQ(ask("GET", "/livez").status, 200);
}

TEST_F(ExecTest, FragmentsAndPings) {
  begin();
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  client.send_frame(2, std::string(1, '\0') + "a", true, false);
  client.send_frame(9, "still there?");
  client.send_frame(0, "b");
  const auto pong = client.read_frame();
  EXPECT_EQ(pong.opcode, 10);
  EXPECT_EQ(pong.payload, "still there?");
  EXPECT_EQ(command.read(), "ab");
}

TEST_F(ExecTest, AClientThatLeavesEndsTheCommand) {
  begin();
  for (const bool politely : {true, false}) {
    auto command = offer_pipes();
    WebSocketClient client(port);
    EXPECT_EQ(client.open(target()).status, 101);
    if (politely) {
      client.send_frame(8, "\x03\xe8");
      EXPECT_EQ(client.read_frame().close_code(), 1000);
      EXPECT_TRUE(client.closed());
      client.close();
    } else {
      client.close();
    }
    EXPECT_TRUE(command.is_abandoned());
  }
}

TEST_F(ExecTest, ASilentClientIsCutOff) {
  HttpBounds bounds;
  bounds.websocket_ping_time = std::chrono::milliseconds(50);
  bounds.websocket_idle_time = std::chrono::milliseconds(200);
  begin(bounds);
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  for (int pings = 0; pings < 4; ++pings) {
    const auto frame = client.read_frame();
    ASSERT_EQ(frame.opcode, 9);
    client.send_frame(10, frame.payload);
  }
  EXPECT_TRUE(command.is_abandoned());  // no pong to the next ones
}

/// Writes until it would block; how much went in.
std::size_t fill(int fd) {
  EXPECT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  const std::string block(65536, 'x');
  std::size_t total = 0;
  pollfd entry{fd, POLLOUT, 0};
  while (::poll(&entry, 1, 300) == 1 && total < (256U << 20)) {
    const auto count = ::write(fd, block.data(), block.size());
    if (count < 0 && errno != EAGAIN) break;
    if (count > 0) total += static_cast<std::size_t>(count);
  }
  return total;
}

TEST_F(ExecTest, AClientThatDoesNotReadStopsTheProgram) {
  HttpBounds bounds;
  bounds.websocket_ping_time = std::chrono::milliseconds(20);
  bounds.websocket_idle_time = std::chrono::milliseconds(100);  // which does not count while the client is waited for
  begin(bounds);
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  const auto written = fill(command.out.get());
  EXPECT_GT(written, 65536U);
  EXPECT_LT(written, 32U << 20);  // what sockets hold; the rest of 256 MiB waits in the program
  std::size_t received = 0;
  command.out.reset();
  command.end(0);
  while (true) {
    const auto frame = client.read_message();
    if (frame.opcode != 2) break;
    if (frame.payload[0] == 1) received += frame.payload.size() - 1;
  }
  EXPECT_EQ(received, written);
}

TEST_F(ExecTest, AClientThatNeverReadsIsCutOffAfterTheEnd) {
  HttpBounds bounds;
  bounds.websocket_drain_time = bounds.websocket_close_time = std::chrono::milliseconds(100);
  begin(bounds);
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  fill(command.out.get());
  command.end(0);
  EXPECT_TRUE(command.is_abandoned());
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(ExecTest, AProgramThatDoesNotReadStopsTheClient) {
  HttpBounds bounds;
  bounds.websocket_close_time = std::chrono::milliseconds(100);
  bounds.websocket_ping_time = std::chrono::milliseconds(20);
  bounds.websocket_idle_time = std::chrono::milliseconds(100);  // which does not count while the program is waited for
  begin(bounds);
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  client.type_until_held_up();
  command.end(0);
  EXPECT_TRUE(command.is_abandoned());
}

TEST_F(ExecTest, AServerThatEndsSaysSo) {
  begin();
  auto command = offer_pipes();
  WebSocketClient client(port);
  EXPECT_EQ(client.open(target()).status, 101);
  ASSERT_TRUE(reaches([&] { return !jobs.exec_request.argv.empty(); }));
  auto drained = boost::asio::co_spawn(io, server->drain(std::chrono::steady_clock::now()), boost::asio::use_future);
  EXPECT_EQ(client.read_to_end().close_code, 1001);
  drained.get();
  EXPECT_TRUE(command.is_abandoned());
}

TEST_F(ExecTest, Namespaces) {
  begin();
  const auto path = "/v1/jobs/" + id_ + "/namespaces";
  EXPECT_EQ(ask("GET", "/v1/jobs/00000000000000000000000099/namespaces").status, 404);
  const auto idle = ask("GET", path);
  EXPECT_EQ(idle.status, 409);
  EXPECT_EQ(idle.body.find("secret"), std::string::npos);
  RunningSandbox running{{false, 1, "run"}, 3, {}};
  running.inspection.namespaces = {{"user", 11, 12, 13, 14}, {"uts", 21, 12, 11, 0}};
  running.inspection.groups = {{"cpu,cpuacct", "/a/b"}, {"", "/"}};
  running.inspection.memory_bytes = 4096;
  running.inspection.processes_now = 3;
  running.inspection.processes = {{4711, 1, "a\xff\x1b[2J"}};
  on_loop([&] { jobs.running_sandbox = running; });
  const auto seen = ask("GET", path).json();
  EXPECT_EQ(seen, nlohmann::json::parse(R"({
    "job": ")" + id_ + R"(", "step": {"index": 1, "name": "run"}, "slot": 3, "memory_bytes": 4096, "processes_now": 3,
    "namespaces": [{"type": "user", "inode": 11, "owner_uid": 12, "owner": 13, "parent": 14},
                   {"type": "uts", "inode": 21, "owner_uid": 12, "owner": 11, "parent": null}],
    "cgroups": [{"controllers": ["cpu", "cpuacct"], "path": "/a/b"}, {"controllers": [], "path": "/"}],
    "processes": [{"pid": 1, "host_pid": 4711, "name": "a\ufffd\u001b[2J"}], "processes_truncated": false})"));
}

}  // namespace
}  // namespace bailiff::server
