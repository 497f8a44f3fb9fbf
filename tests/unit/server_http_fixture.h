#pragma once
// A server over loopback with fakes behind it, and a client that writes raw bytes.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/fd.h"
#include "server/http_fields.h"
#include "server/http_server.h"
#include "server_api_fakes.h"

namespace bailiff::server::testing {

struct Answer {
  int status = 0;  // 0: the connection ended first
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

/// One connection. Every wait ends after ten seconds.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{10, 0};
    EXPECT_EQ(::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    EXPECT_EQ(::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  /// False where the server closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void shutdown_send() { EXPECT_EQ(::shutdown(fd_.get(), SHUT_WR), 0); }
  void close() { fd_.reset(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

  Answer read(bool is_head = false) {
    Answer answer;
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return answer;
    std::istringstream head(buffer_.substr(0, end));
    buffer_.erase(0, end + 4);
    std::string line;
    std::getline(head, line);
    answer.status = std::stoi(line.substr(9, 3));
    while (std::getline(head, line)) {
      const auto colon = line.find(':');
      std::string name = line.substr(0, colon), value = line.substr(colon + 2);
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      if (value.ends_with('\r')) value.pop_back();
      answer.headers[name] = value;
    }
    const std::size_t length = answer.headers.contains("content-length") && !is_head ? std::stoul(answer.headers["content-length"]) : 0;
    while (buffer_.size() < length)
      if (!fill()) break;
    answer.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return answer;
  }
  /// The next `count` bytes; nothing where the connection ends first.
  std::optional<std::string> take(std::size_t count) {
    while (buffer_.size() < count)
      if (!fill()) return std::nullopt;
    auto bytes = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return bytes;
  }
  /// True when the server ends the connection without a further byte.
  bool closed() { return buffer_.empty() && !fill(); }

 private:
  bool fill() {
    std::array<char, 65536> chunk{};
    const auto count = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    // A server that neither answers nor closes would look like one that closed.
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) ADD_FAILURE() << "no answer in ten seconds";
    if (count <= 0) return false;
    buffer_.append(chunk.data(), static_cast<std::size_t>(count));
    return true;
  }
  core::Fd fd_;
  std::string buffer_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() = default;
  ~HttpServerTest() override { stop(); }

  void start(HttpBounds bounds = {}, std::uint64_t queue_bound = 1000) {
    ASSERT_TRUE(access.load());
    ApiContext context{jobs, store, test_catalogue(), metrics, access};
    context.capabilities = {{"cgroup.version", true, "1", ""}, {"namespaces.time", false, "none", "a newer kernel"}};
    context.cgroup_driver = "systemd";
    context.queue_bound = queue_bound;
    context.pages = web_pages;
    server.emplace(io, std::move(context), bounds);
    const auto bound = server->listen("127.0.0.1", 0, tls ? &*tls : nullptr);
    ASSERT_TRUE(bound) << bound.error().what;
    port = *bound;
    thread = std::thread([this] { io.run(); });
  }
  void stop() {
    if (!thread.joinable()) return;
    // No coroutine is left afterwards, so none touches the fakes when the loop is destroyed.
    boost::asio::co_spawn(io, server->drain(std::chrono::steady_clock::now()), boost::asio::use_future).get();
    EXPECT_EQ(server->connections(), 0U);
    server.reset();
    work.reset();
    thread.join();
  }
  /// On the io thread, where jobs and server live.
  template <class Work>
  auto on_loop(Work task) {
    std::packaged_task<decltype(task())()> packaged(std::move(task));
    auto result = packaged.get_future();
    boost::asio::post(io, [&packaged] { packaged(); });
    return result.get();
  }
  /// Until `condition` holds on the io thread: a state that another party reaches in its own time.
  template <class Condition>
  bool reaches(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
      if (on_loop(condition)) return true;
      std::this_thread::yield();
    }
    return false;
  }

  static std::string request(const std::string& method, const std::string& target, const std::string& headers = "",
                             const std::string& body = "") {
    std::string text = method + " " + target + " HTTP/1.1\r\nHost: x\r\n" + headers;
    if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return text + "\r\n" + body;
  }
  Answer ask(const std::string& method, const std::string& target, const std::string& headers = "", const std::string& body = "") {
    RawClient client(port);
    client.send(request(method, target, headers, body));
    return client.read(method == "HEAD");
  }
  Answer post(const std::string& body, const std::string& headers = "") {
    return ask("POST", "/v1/jobs", "Content-Type: application/json\r\n" + headers, body);
  }

  static constexpr const char* kJob = R"({"language": "cpp", "source": "int main(){}"})";

  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  FakeStore store;
  FairShare shares;
  Access access{store, shares};
  Metrics metrics;
  const WebPages* web_pages = nullptr;  // set before start()
  FakeJobs jobs{io, store};
  std::optional<TlsFront> tls;  // set before start()
  std::optional<HttpServer> server;
  std::thread thread;
  std::uint16_t port = 0;
};

}  // namespace bailiff::server::testing
