// bench_http [--server BAILIFFD | --url http://HOST:PORT] [--clients 1,8,64] [--seconds S]: one trivial job (/bin/true) as a user of the HTTP API
// gets it. Each client is one keep-alive connection that POSTs a job with Prefer: wait, checks that it ended well, and POSTs the next (a closed
// loop); prints jobs per second and the time from the POST to its answer. Then the same without waiting: how fast jobs are taken in.
// The clients share the machine with the server they measure, on one thread of their own.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace fs = std::filesystem;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kJob = R"({"image":"host","steps":[{"name":"run","command":["/bin/true"]}]})";
constexpr milliseconds kWarmUp{500};
constexpr std::chrono::seconds kAnswerTime{60};  // well over the 30 s that an answer may be held
constexpr std::chrono::seconds kStartTime{60}, kEndTime{60};
constexpr std::uint64_t kAnswerBytes = 1 << 20;
constexpr std::size_t kSubmitClients = 8, kMaxSubmitted = 2000;  // what is taken in faster than it runs stays in the queue

/// A bailiffd of our own on a port of its choice; the end of this object is the end of it, of its database and of its log.
class Server {
 public:
  explicit Server(const std::string& program);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  void read_url(int fd);
  void end();

  std::string directory_, url_;
  pid_t pid_ = -1;
};

Server::Server(const std::string& program) {
  if (::geteuid() != 0) throw std::runtime_error("starting bailiffd needs root; --url measures one that runs");
  directory_ = (fs::temp_directory_path() / "bailiff-bench-XXXXXX").string();
  if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("cannot make " + directory_);
  // The server gives up root and must still reach its database below; its cgroup is its own, since another bailiffd may run.
  ::chmod(directory_.c_str(), 0755);
  std::vector<std::string> arguments = {
      program, "--listen", "127.0.0.1:0", "--data", directory_ + "/data", "--cgroup-parent", "bailiff-bench-" + std::to_string(::getpid())};
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2] = {-1, -1};
  const int log = ::open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (log >= 0 && ::pipe2(ends, O_CLOEXEC) == 0) pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ::close(log);
  if (pid_ > 0) read_url(ends[0]);
  ::close(ends[0]);
  if (!url_.empty()) return;
  end();  // no destructor runs for an object that was not made
  throw std::runtime_error(program + " does not listen; its log is " + directory_ + "/log");
}

Server::~Server() {
  end();
  std::error_code error;
  fs::remove_all(directory_, error);
  if (error) std::fprintf(stderr, "cannot remove %s: %s\n", directory_.c_str(), error.message().c_str());
}

void Server::read_url(int fd) {
  constexpr std::string_view kStart = "listening on ";
  const auto end = Clock::now() + kStartTime;
  std::string text;
  while (text.find('\n') == std::string::npos) {
    pollfd ready{fd, POLLIN, 0};
    char bytes[256];
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
    if (::poll(&ready, 1, static_cast<int>(std::max<long>(0, left))) <= 0) return;
    const auto got = ::read(fd, bytes, sizeof bytes);
    if (got <= 0) return;
    text.append(bytes, static_cast<std::size_t>(got));
  }
  if (text.starts_with(kStart)) url_ = text.substr(kStart.size(), text.find('\n') - kStart.size());
}

void Server::end() {
  if (pid_ <= 0) return;
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{handle, POLLIN, 0};
  ::kill(pid_, SIGTERM);
  if (::poll(&ended, 1, static_cast<int>(milliseconds(kEndTime).count())) != 1) ::kill(pid_, SIGKILL);
  ::close(handle);
  int status = 0;
  if (::waitpid(pid_, &status, 0) == pid_ && status != 0 && !url_.empty()) std::fprintf(stderr, "bailiffd ended with status %d\n", status);
  pid_ = -1;
}

/// What all clients of one round share; of one thread.
struct Round {
  bool waits = true;  // for the job's end, else only for its being taken in
  std::size_t most_jobs = SIZE_MAX;  // POSTs in the whole round
  Clock::time_point measured, end;  // answers that come between the two are counted
  std::size_t posted = 0, errors = 0;
  std::vector<double> milliseconds_each;
  std::string first_error;
  Clock::time_point last_answer;

  void fail(const std::string& why) {
    if (errors++ == 0) first_error = why;
  }
};

/// Empty where the answer is what a job that went well gives.
std::string fault_of(const http::response<http::string_body>& answer, bool waits) {
  const unsigned expected = waits ? 200 : 202;
  if (answer.result_int() != expected) return "status " + std::to_string(answer.result_int()) + ": " + answer.body().substr(0, 300);
  const auto job = nlohmann::json::parse(answer.body(), nullptr, false);
  if (!job.is_object() || !job.contains("id")) return "not a job: " + answer.body().substr(0, 300);
  if (waits && job.value("verdict", nlohmann::json()) != "ok") return "verdict is not ok: " + answer.body().substr(0, 300);
  return "";
}

class Load {
 public:
  Load(std::string host, const std::string& port) : host_(std::move(host)), signals_(io_, SIGINT, SIGTERM) {
    for (const auto& entry : tcp::resolver(io_).resolve(host_, port)) endpoints_.push_back(entry.endpoint());
    host_ += ":" + port;
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      interrupted_ = !error;
      io_.stop();
    });
  }

  /// Throws where a signal ended it.
  void run(Round& round, std::size_t clients, std::chrono::seconds length) {
    round.measured = round.waits ? Clock::now() + kWarmUp : Clock::now();
    round.end = round.measured + length;
    std::size_t left = clients;
    for (std::size_t i = 0; i < clients; ++i)
      asio::co_spawn(io_, client(round), [&](std::exception_ptr why) {
        if (why) std::rethrow_exception(why);  // out of run()
        if (--left == 0) io_.stop();
      });
    io_.restart();
    io_.run();
    if (interrupted_) throw std::runtime_error("interrupted");
  }

 private:
  /// A connection that breaks is an error and is made anew; one that cannot be made ends the client.
  asio::awaitable<void> client(Round& round) {
    while (Clock::now() < round.end && round.posted < round.most_jobs) {
      bool connected = false;
      try {
        beast::tcp_stream stream(io_);
        stream.expires_after(kAnswerTime);
        co_await stream.async_connect(endpoints_, asio::use_awaitable);
        connected = true;
        stream.socket().set_option(tcp::no_delay(true));
        co_await post_jobs(stream, round);
      } catch (const boost::system::system_error& error) {
        round.fail(error.code().message());
        if (!connected) co_return;
      }
    }
  }

  asio::awaitable<void> post_jobs(beast::tcp_stream& stream, Round& round) {
    http::request<http::string_body> request(http::verb::post, "/v1/jobs", 11);
    request.set(http::field::host, host_);
    request.set(http::field::content_type, "application/json");
    if (round.waits) request.set(http::field::prefer, "wait=30");
    request.body() = kJob;
    request.prepare_payload();
    beast::flat_buffer buffer;
    bool alive = true;
    while (alive && Clock::now() < round.end && round.posted < round.most_jobs) {
      ++round.posted;
      http::response_parser<http::string_body> parser;
      parser.body_limit(kAnswerBytes);
      stream.expires_after(kAnswerTime);
      const auto start = Clock::now();
      co_await http::async_write(stream, request, asio::use_awaitable);
      co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
      const auto answered = Clock::now();
      alive = parser.get().keep_alive();
      if (const auto fault = fault_of(parser.get(), round.waits); !fault.empty()) {
        round.fail(fault);
      } else if (answered >= round.measured && answered < round.end) {
        round.milliseconds_each.push_back(std::chrono::duration<double, std::milli>(answered - start).count());
        round.last_answer = answered;
      }
    }
  }

  asio::io_context io_{1};
  std::string host_;
  std::vector<tcp::endpoint> endpoints_;
  asio::signal_set signals_;
  bool interrupted_ = false;
};

/// By nearest rank; of at least one sample.
double percentile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size()))) - 1];
}

/// Prints a line; whether the round went without an error.
bool measure(Load& load, const char* what, std::size_t clients, std::chrono::seconds length, Round round) {
  load.run(round, clients, length);
  auto& samples = round.milliseconds_each;
  std::sort(samples.begin(), samples.end());
  // A round that stopped at its most jobs took only as long as its last answer.
  const auto end = round.posted >= round.most_jobs ? round.last_answer : round.end;
  const double seconds = std::chrono::duration<double>(end - round.measured).count();
  if (samples.empty()) std::printf("%-7s %4zu clients  no job went well, %zu errors\n", what, clients, round.errors);
  else
    std::printf("%-7s %4zu clients  %7.1f jobs/s  p50 %8.3f ms  p99 %8.3f ms  %zu jobs in %.2f s, %zu errors\n", what, clients,
                static_cast<double>(samples.size()) / seconds, percentile(samples, 0.5), percentile(samples, 0.99), samples.size(), seconds,
                round.errors);
  if (round.errors > 0) std::printf("        the first error: %s\n", round.first_error.c_str());
  std::fflush(stdout);
  return round.errors == 0 && !samples.empty();
}

bool run_all(const std::string& url, const std::vector<std::size_t>& clients, std::chrono::seconds length) {
  constexpr std::string_view kScheme = "http://";
  const auto colon = url.rfind(':');
  if (!url.starts_with(kScheme) || colon < kScheme.size()) throw std::runtime_error("not of the form http://HOST:PORT: " + url);
  const auto port = url.substr(colon + 1, url.find('/', colon + 1) - colon - 1);
  Load load(url.substr(kScheme.size(), colon - kScheme.size()), port);
  std::printf("/bin/true through %s, %u CPUs for clients and server\n", url.c_str(), std::thread::hardware_concurrency());
  bool well = true;
  for (const auto count : clients) well = measure(load, "wait", count, length, Round{}) && well;
  Round submit;
  submit.waits = false;
  submit.most_jobs = kMaxSubmitted;
  return measure(load, "submit", kSubmitClients, length, std::move(submit)) && well;
}

}  // namespace

int main(int argc, char** argv) {
  std::string program = (fs::read_symlink("/proc/self/exe").parent_path() / "bailiffd").string(), url;
  std::vector<std::size_t> clients = {1, 8, 64};
  int seconds = 5;
  CLI::App app("One trivial job through the HTTP API: jobs per second and the time to an answer");
  app.option_defaults()->always_capture_default();
  auto* server_option = app.add_option("--server", program, "bailiffd to start and to measure");
  app.add_option("--url", url, "Measure this running server instead, http://HOST:PORT")->excludes(server_option);
  app.add_option("--clients", clients, "Connections, one round for each number")->delimiter(',')->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds, "Seconds of a round")->check(CLI::Range(1, 600));
  CLI11_PARSE(app, argc, argv);
  try {
    std::optional<Server> server;
    if (url.empty()) url = server.emplace(program).url();
    return run_all(url, clients, std::chrono::seconds(seconds)) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_http: %s\n", error.what());
    return 1;
  }
}
