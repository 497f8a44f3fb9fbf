// The connection: bounds, framing, timeouts, pipelining, drain.
#include <gtest/gtest.h>
#include <poll.h>

#include "server_http_fixture.h"

namespace bailiff::server {
namespace {

using std::chrono::milliseconds;
using testing::Answer;
using testing::RawClient;

class HttpConnection : public testing::HttpServerTest {
 protected:
  static HttpBounds quick() {
    HttpBounds bounds;
    bounds.header_time = milliseconds(300);
    bounds.body_read_time = milliseconds(300);
    bounds.body_time = milliseconds(900);
    bounds.idle_time = milliseconds(300);
    bounds.linger_time = milliseconds(200);
    return bounds;
  }
};

TEST_F(HttpConnection, KeepsAliveAndPipelines) {
  start();
  RawClient client(port);
  const std::string body = kJob;
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += request("GET", "/livez") + request("POST", "/v1/jobs", "", body) + request("GET", "/nothing");
  client.send(requests);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client.read().status, 200);
    EXPECT_EQ(client.read().status, 202);
    EXPECT_EQ(client.read().status, 404);
  }
  EXPECT_EQ(store.size(), 50U);
}

TEST_F(HttpConnection, ConnectionCloseAndHttp10) {
  start();
  RawClient closing(port);
  closing.send(request("GET", "/livez", "Connection: close\r\n"));
  EXPECT_EQ(closing.read().headers["connection"], "close");
  EXPECT_TRUE(closing.closed());
  RawClient old(port);
  old.send("GET /livez HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.read().status, 200);
  EXPECT_TRUE(old.closed());
  RawClient keeping(port);
  keeping.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(keeping.read().headers["connection"], "keep-alive");
  keeping.send("GET /livez HTTP/1.0\r\n\r\n");
  EXPECT_EQ(keeping.read().status, 200);
}

TEST_F(HttpConnection, ByteByByte) {
  start();
  RawClient client(port);
  for (const char byte : request("POST", "/v1/jobs", "Content-Type: application/json\r\n", kJob)) ASSERT_TRUE(client.send({&byte, 1}));
  EXPECT_EQ(client.read().status, 202);
}

TEST_F(HttpConnection, ChunkedBodies) {
  start();
  const std::string head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  RawClient client(port);
  client.send(head + "10;ext=1\r\n{\"language\": \"cp\r\n1B\r\np\", \"source\": \"int main()\"}\r\n0\r\nTrailer: x\r\n\r\n" +
              request("GET", "/livez"));
  EXPECT_EQ(client.read().status, 202);
  EXPECT_EQ(client.read().status, 200);
  for (const char* nonsense : {"x\r\n", "-1\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n", "1\r\nab\r\n0\r\n\r\n", "0x1\r\na\r\n\r\n"}) {
    RawClient bad(port);
    bad.send(head + nonsense);
    EXPECT_EQ(bad.read().status, 400) << nonsense;
    EXPECT_TRUE(bad.closed());
  }
}

TEST_F(HttpConnection, SmugglingShapes) {
  start();
  const std::string chunk = "0\r\n\r\n";
  const std::vector<std::string> shapes = {
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
      "POST /v1/jobs HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
      "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET /livez HTTP/1.1\r\n\r\n",
      "GET /livez HTTP/1.1\nHost: x\n\n",
      "GET /livez HTTP/1.1\r\nHost: x\r\n: novalue\r\n\r\n",
      "GET /livez HTTP/1.1\r\nHost: x\r\nA\x01: b\r\n\r\n",
      std::string("GET /livez HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 40),
      "GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n",
      "GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
      "GET livez HTTP/1.1\r\nHost: x\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
  };
  for (const auto& shape : shapes) {
    RawClient client(port);
    client.send(shape + request("GET", "/livez"));
    const auto answer = client.read();
    EXPECT_EQ(answer.status, 400) << shape;
    EXPECT_EQ(answer.headers.contains("connection") ? answer.headers.at("connection") : "", shape.starts_with("GET livez") ? "" : "close")
        << shape;
    if (shape.starts_with("GET livez")) continue;
    EXPECT_TRUE(client.closed()) << shape;
  }
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(HttpConnection, UnknownExpectation) {
  start();
  RawClient odd(port);
  odd.send(request("GET", "/livez", "Expect: 200-ok\r\n"));
  EXPECT_EQ(odd.read().status, 417);
}

TEST_F(HttpConnection, ExpectContinue) {
  start();
  const std::string body = kJob;
  const auto head = [&](const std::string& type) {
    return "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
           "\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  };
  RawClient client(port);
  client.send(head("application/json"));
  EXPECT_EQ(client.read().status, 100);
  client.send(body);
  EXPECT_EQ(client.read().status, 202);
  RawClient refused(port);
  refused.send(head("text/plain"));
  EXPECT_EQ(refused.read().status, 415);
}

TEST_F(HttpConnection, LargeHeaders) {
  start();
  RawClient fits(port);
  fits.send(request("GET", "/livez", "X: " + std::string(15'000, 'x') + "\r\n"));
  EXPECT_EQ(fits.read().status, 200);
  for (const auto& headers : {"X: " + std::string(17'000, 'x') + "\r\n", "X: " + std::string(1'000'000, 'x') + "\r\n"}) {
    RawClient client(port);
    client.send(request("GET", "/livez", headers));
    EXPECT_EQ(client.read().status, 431);
    EXPECT_TRUE(client.closed());
  }
  std::string many;
  for (int i = 0; i < 101; ++i) many += "A: b\r\n";
  EXPECT_EQ(ask("GET", "/livez", many).status, 431);
  EXPECT_EQ(ask("GET", "/" + std::string(17'000, 'x')).status, 431);
}

TEST_F(HttpConnection, LargeBodies) {
  HttpBounds bounds;
  bounds.body_bytes = 100'000;
  start(bounds);
  const auto sized = [](std::size_t bytes) {
    const std::string head = R"({"language": "cpp", "source": ")";
    return head + std::string(bytes - head.size() - 2, 'x') + "\"}";
  };
  EXPECT_EQ(post(sized(100'000)).status, 202);
  RawClient client(port);
  client.send(request("POST", "/v1/jobs", "", sized(100'001)));
  EXPECT_EQ(client.read().status, 413);
  EXPECT_TRUE(client.closed());
  RawClient chunked(port);
  chunked.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "8000\r\n" + std::string(0x8000, ' ') + "\r\n";
  for (int i = 0; i < 8; ++i) chunked.send(chunk);
  EXPECT_EQ(chunked.read().status, 413);
}

TEST_F(HttpConnection, BodiesOfAllConnectionsAreBounded) {
  HttpBounds bounds;
  bounds.bodies_bytes = 300'000;
  start(bounds);
  const std::string head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 250000\r\n\r\n";
  RawClient first(port);
  first.send(head + std::string(200'000, ' '));
  RawClient second(port);
  second.send(head + std::string(200'000, ' '));
  // One of the two crosses the bound; which one depends on whose bytes are read first.
  std::array<pollfd, 2> polled = {{{first.fd(), POLLIN, 0}, {second.fd(), POLLIN, 0}}};
  ASSERT_GT(::poll(polled.data(), polled.size(), 10'000), 0);
  auto& refused = polled[0].revents != 0 ? first : second;
  auto& other = polled[0].revents != 0 ? second : first;
  EXPECT_EQ(refused.read().status, 503);
  refused.close();
  other.send(std::string(50'000, ' '));
  EXPECT_EQ(other.read().status, 400);  // read as a whole, and no JSON
  EXPECT_EQ(post(kJob).status, 202);
}

TEST_F(HttpConnection, SlowHeaderBodyAndIdle) {
  start(quick());
  RawClient silent(port);
  EXPECT_TRUE(silent.closed());
  RawClient header(port);
  header.send("GET /livez HTTP/1.1\r\nHost:");
  EXPECT_TRUE(header.closed());
  RawClient body(port);
  body.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_TRUE(body.closed());
  RawClient idle(port);
  idle.send(request("GET", "/livez"));
  EXPECT_EQ(idle.read().status, 200);
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(HttpConnection, ATrickleDoesNotExtendTheTime) {
  start(quick());
  RawClient client(port);
  const auto begin = std::chrono::steady_clock::now();
  client.send("GET /livez HTTP/1.1\r\nX: ");
  pollfd readable{client.fd(), POLLIN, 0};
  while (::poll(&readable, 1, 20) == 0 && client.send("x")) {}
  EXPECT_TRUE(client.closed());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(HttpConnection, TruncatedRequestsLeaveNothing) {
  start();
  for (const char* bytes : {"", "G", "GET / HTTP/1.1\r\nHost: x\r\n", "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"}) {
    RawClient client(port);
    client.send(bytes);
    client.close();
  }
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(HttpConnection, TooManyConnections) {
  HttpBounds bounds;
  bounds.connections = 3;
  start(bounds);
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(port);
  for (auto& client : clients) {
    client.send(request("GET", "/livez"));
    EXPECT_EQ(client.read().status, 200);
  }
  RawClient over(port);
  over.send(request("GET", "/livez"));
  EXPECT_EQ(over.read().status, 503);
  over.shutdown_send();
  EXPECT_TRUE(over.closed());
  clients.pop_back();
  EXPECT_TRUE(reaches([&] { return server->connections() == 2; }));
  EXPECT_EQ(ask("GET", "/livez").status, 200);
}

TEST_F(HttpConnection, AnAnswerNobodyReadsIsCutOff) {
  HttpBounds bounds;
  bounds.write_time = milliseconds(200);
  start(bounds);
  const auto id = post(kJob).json()["id"].get<std::string>();
  on_loop([&] { jobs.end(id, core::Verdict::ok, std::string(64 << 20, 'x')); });
  RawClient client(port);
  client.send(request("GET", "/v1/jobs/" + id + "/steps/0/stdout"));
  EXPECT_TRUE(reaches([&] { return server->connections() == 1; }));
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(HttpConnection, ALongPollNoticesThatTheClientLeft) {
  start();
  const auto id = post(kJob).json()["id"].get<std::string>();
  RawClient client(port);
  client.send(request("GET", "/v1/jobs/" + id, "Prefer: wait=200\r\n"));
  ASSERT_TRUE(reaches([&] { return jobs.waiters == 1; }));
  client.close();
  EXPECT_TRUE(reaches([&] { return jobs.waiters == 0; }));
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(HttpConnection, ALongPollWithAPipelinedRequestBehindIt) {
  start();
  const auto id = post(kJob).json()["id"].get<std::string>();
  RawClient client(port);
  client.send(request("GET", "/v1/jobs/" + id, "Prefer: wait=200\r\n"));
  ASSERT_TRUE(reaches([&] { return jobs.waiters == 1; }));
  client.send(request("GET", "/livez"));
  on_loop([&] { jobs.end(id, core::Verdict::ok, ""); });
  EXPECT_EQ(client.read().json()["verdict"], "ok");
  EXPECT_EQ(client.read().json()["status"], "ok");
}

TEST_F(HttpConnection, DrainEndsIdleOnesAtOnceAndLongPollsAtTheDeadline) {
  start();
  const auto id = post(kJob).json()["id"].get<std::string>();
  RawClient idle(port), poll(port);
  idle.send(request("GET", "/livez"));
  EXPECT_EQ(idle.read().status, 200);
  poll.send(request("GET", "/v1/jobs/" + id, "Prefer: wait=200\r\n"));
  ASSERT_TRUE(reaches([&] { return jobs.waiters == 1; }));
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(200);
  auto drained = boost::asio::co_spawn(io, server->drain(deadline), boost::asio::use_future);
  EXPECT_TRUE(idle.closed());
  const auto answer = poll.read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.json()["state"], "queued");
  EXPECT_GE(std::chrono::steady_clock::now(), deadline);
  EXPECT_TRUE(poll.closed());
  ASSERT_EQ(drained.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(on_loop([&] { return server->connections(); }), 0U);
  const core::Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_NE(::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

TEST_F(HttpConnection, ListenTellsWhatIsWrong) {
  start();
  EXPECT_EQ(server->listen("localhost", 0).error().kind, core::ErrorKind::invalid);
  EXPECT_NE(server->listen("127.0.0.1", port).error().what.find("bind"), std::string::npos);
}

}  // namespace
}  // namespace bailiff::server
