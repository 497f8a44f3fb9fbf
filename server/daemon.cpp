#include "server/daemon.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "sandbox/cgroup_driver.h"
#include "server/access.h"
#include "server/http_server.h"
#include "server/image_service.h"
#include "server/job_queue.h"
#include "server/language_probe.h"
#include "server/log.h"
#include "server/privileges.h"
#include "server/retention.h"
#include "server/runner.h"
#include "server/slot_pool.h"
#include "server/systemd_notify.h"
#include "server/tls_front.h"
#include "server/web_pages.h"
#include "server/webhook_client.h"
#include "server/webhook_deliverer.h"

namespace bailiff::server {

namespace asio = boost::asio;
using std::chrono::steady_clock;

namespace {

constexpr int kSuccess = 0, kFailure = 1;
constexpr unsigned kDocumentThreads = 2;
constexpr auto kHttpGrace = std::chrono::seconds(3);  // after the jobs have ended, for answers to be taken
constexpr auto kWebhookGrace = std::chrono::seconds(3);  // for attempts to deliver webhooks that are under way then
constexpr auto kLoopGrace = std::chrono::seconds(5);  // after everything was told to stop
constexpr rlim_t kMostDescriptors = 1 << 20;

/// Ends the process without destructors: for when coroutines still refer to what they would destroy.
[[noreturn]] void end_at_once(int code) {
  std::fflush(nullptr);
  std::_Exit(code);
}

std::string images_directory(const Config& config) { return (std::filesystem::path(config.data) / kImagesDirectory).string(); }

core::Result<sandbox::Launcher> start_launcher(const Config& config) {
  sandbox::LauncherConfig launcher;
  launcher.launcher_path = config.launcher;
  launcher.slots = static_cast<unsigned>(config.slots);
  launcher.images = {{"host", sandbox::Image::Kind::host, ""}};
  launcher.images_directory = images_directory(config);
  launcher.ceiling = config.ceiling;
  launcher.cgroup_parent = config.cgroup_parent;
  launcher.cgroup_driver = config.cgroup_driver;
  launcher.slot_cpus = config.slot_cpus;
  launcher.clock_start_s = config.clock_start_s;
  launcher.net_marks = {static_cast<std::uint32_t>(config.net_class_id), static_cast<std::uint32_t>(config.net_priority)};
  return sandbox::Launcher::start(launcher);
}

/// Connections and output files need descriptors; the soft limit of a login is low.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min(limit.rlim_max, kMostDescriptors);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) log_warn("cannot raise the limit of open files", {{"why", std::strerror(errno)}});
}

/// What root had to do for us, and what stays of it.
struct Prepared {
  sandbox::Launcher launcher;
  core::Fd languages;  // the directory; its parents may be closed to us by now
  images::ImportWorker importer;
  std::vector<sandbox::Capability> capabilities;
  WebPages pages;
};

/// A default that no step could run under.
core::Status check_io_defaults(const Config& config, const std::vector<sandbox::Capability>& capabilities) {
  const auto blkio = std::ranges::find(capabilities, "cgroup.blkio", &sandbox::Capability::name);
  if (blkio == capabilities.end() || blkio->present) return {};
  for (const auto* limits : {&config.limits, &config.compile, &config.ceiling})
    for (const auto& field : core::kLimitFields)
      if (std::string_view(field.name).starts_with("io_") && limits->*field.member != 0)
        return core::error(core::ErrorKind::invalid, std::string(field.name) + " is set, but this host cannot cap I/O; " + blkio->fix);
  return {};
}

core::Result<WebPages> load_pages(const Config& config) {
  if (config.web == "none") return WebPages();
  return config.web_found ? WebPages::load_found(config.web) : WebPages::load(config.web);
}

core::Result<Prepared> prepare_as_root(const Config& config) {
  const auto identity = find_identity(config.user);
  if (!identity) return std::unexpected(identity.error());
  if (auto done = prepare_data_directory(config.data, *identity); !done) return std::unexpected(done.error());
  if (config.languages.empty())
    return core::error(core::ErrorKind::invalid, "languages: no definitions were found beside the program; name their directory");
  core::Fd languages(::open(config.languages.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!languages.valid()) return core::errno_error("languages: cannot open " + config.languages);
  auto importer = images::ImportWorker::find();
  if (!importer) return std::unexpected(importer.error());
  auto capabilities = sandbox::probe_host();
  if (auto done = check_io_defaults(config, capabilities); !done) return std::unexpected(done.error());
  auto pages = load_pages(config);
  if (!pages) return std::unexpected(pages.error());
  auto launcher = start_launcher(config);
  if (!launcher) return std::unexpected(launcher.error());
  log_info("cgroup driver", {{"driver", sandbox::name(launcher->cgroup_driver())}, {"why", launcher->cgroup_driver_reason()}});
  raise_descriptor_limit();
  if (auto done = drop_privileges(*identity); !done) return std::unexpected(done.error());
  std::signal(SIGPIPE, SIG_IGN);
  log_info("privileges given up", {{"uid", identity->uid}, {"gid", identity->gid}, {"launcher_pid", launcher->pid()}});
  return Prepared{std::move(*launcher), std::move(languages), std::move(*importer), std::move(capabilities), std::move(*pages)};
}

HttpBounds http_bounds(const Config& config) {
  using std::chrono::milliseconds;
  HttpBounds bounds;
  bounds.body_bytes = config.max_body_bytes;
  bounds.bodies_bytes = config.max_bodies_bytes;
  bounds.batch_jobs = config.max_batch_jobs;
  bounds.blob_bytes = config.max_blob_bytes;
  bounds.blobs_bytes = config.max_blobs_bytes;
  bounds.connections = config.max_connections;
  bounds.header_time = milliseconds(config.header_timeout_ms);
  bounds.body_time = milliseconds(config.body_timeout_ms);
  bounds.idle_time = milliseconds(config.idle_timeout_ms);
  bounds.write_time = milliseconds(config.write_timeout_ms);
  bounds.longest_wait = milliseconds(config.max_wait_ms);
  return bounds;
}

WebhookRules webhook_rules(const Config& config) { return {config.webhook_allow_private, config.webhook_allow_http}; }

WebhookDeliverer::Options webhook_options(const Config& config) {
  using std::chrono::milliseconds;
  WebhookDeliverer::Options options;
  options.at_one_time = config.webhook_max_deliveries;
  options.attempt_time = milliseconds(config.webhook_timeout_ms);
  options.schedule.most_attempts = static_cast<int>(config.webhook_max_attempts);
  options.schedule.first_delay = milliseconds(config.webhook_first_retry_ms);
  options.schedule.longest_delay = milliseconds(config.webhook_longest_retry_ms);
  options.rules = webhook_rules(config);
  return options;
}

/// The unprivileged part. Members are torn down in reverse order, when no coroutine is left.
class Daemon {
 public:
  Daemon(const Config& config, Prepared prepared)
      : config_(config), launcher_(std::move(prepared.launcher)), languages_(std::move(prepared.languages)),
        importer_(std::move(prepared.importer)), capabilities_(std::move(prepared.capabilities)), pages_(std::move(prepared.pages)),
        slot_source_(launcher_), threads_(kDocumentThreads), pool_(io_, slot_source_, static_cast<unsigned>(config.slots)),
        signals_(io_, SIGTERM, SIGINT), reload_signal_(io_) {}

  core::Status start();
  int run();

 private:
  core::Status open_store();
  core::Status check_access();
  core::Status find_languages();
  core::Status start_webhooks();
  core::Status load_tls();
  core::Status listen();
  void on_launcher_lost(const core::Error& why);
  void on_signal(int number);
  void reload_on_signal();
  asio::awaitable<void> shut_down();

  const Config& config_;
  asio::io_context io_{1};
  sandbox::Launcher launcher_;
  core::Fd languages_;
  images::ImportWorker importer_;
  std::vector<sandbox::Capability> capabilities_;
  WebPages pages_;
  LauncherSlots slot_source_;
  Metrics metrics_;
  FairShare shares_;
  std::unique_ptr<storage::Store> store_;
  std::optional<Access> access_;
  std::optional<images::Catalogue> catalogue_;
  std::optional<ImageService> images_;
  asio::thread_pool threads_;
  SlotPool pool_;
  asio::signal_set signals_, reload_signal_;
  std::optional<Runner> runner_;
  std::optional<JobQueue> jobs_;
  std::optional<Retention> retention_;
  std::unique_ptr<WebhookClient> webhook_client_;
  std::optional<WebhookDeliverer> webhooks_;
  std::optional<TlsFront> tls_;
  std::optional<HttpServer> http_;
  SystemdNotify systemd_{io_};
  std::optional<core::Error> launcher_lost_;
  bool stop_asked_ = false, serving_ = false, drained_ = false;
};

core::Status Daemon::open_store() {
  if (auto done = check_data_directory(config_.data); !done) return done;
  storage::Options options;
  options.path = (std::filesystem::path(config_.data) / storage::kDatabaseName).string();
  options.on_commit = [this](std::chrono::microseconds took, std::size_t writes) { metrics_.committed(took, writes); };
  options.on_webhook_due = [this]() {
    asio::post(io_, [this]() {
      if (webhooks_) webhooks_->wake();
    });
  };
  auto store = storage::Store::open(options);
  if (!store) return std::unexpected(store.error());
  store_ = std::move(*store);
  return {};
}

/// Who reaches the port runs programs here; so it is either this machine alone, or there are keys.
core::Status Daemon::check_access() {
  access_.emplace(*store_, shares_);
  if (auto done = access_->load(); !done) return done;
  const auto endpoint = parse_endpoint(config_.listen);
  if (!endpoint) return std::unexpected(endpoint.error());
  if (access_->has_keys() || is_loopback(*endpoint) || config_.allow_insecure_listen) return {};
  return core::error(
      core::ErrorKind::invalid,
      fmt::format("listen: {} can be reached from other machines, and there are no API keys, so everybody who reaches it could run "
                  "programs here. Make a key first: `bailiff key create admin --scope admin --data {}`; or listen on 127.0.0.1; "
                  "or set allow_insecure_listen = true if that is what you want",
                  config_.listen, config_.data));
}

core::Status Daemon::find_languages() {
  const auto host = images::host_image();
  if (!host) return std::unexpected(host.error());
  auto image_store = images::ImageStore::open(images_directory(config_));
  if (!image_store) return std::unexpected(image_store.error());
  images_.emplace(std::move(*image_store), importer_, launcher_, *store_);
  std::vector<images::Image> all = {*host};
  auto mounted = images_->mount_all();
  for (auto& image : mounted.built) all.push_back(std::move(image));
  auto found = load_catalogue(io_, pool_, fmt::format("/proc/self/fd/{}", languages_.get()), all, config_.ceiling);
  if (launcher_lost_) return std::unexpected(*launcher_lost_);
  if (!found) return std::unexpected(found.error());
  catalogue_ = std::move(found->catalogue);
  for (auto& image : mounted.brought) catalogue_->offer(std::move(image));
  images_->use(*catalogue_);
  images_->reserve(std::move(found->image_names));
  images_->note(found->news);
  languages_.reset();
  std::string names;
  for (const auto& language : catalogue_->languages()) names += (names.empty() ? "" : ",") + language.name;
  log_info("languages found", {{"count", catalogue_->languages().size()}, {"names", names}});
  return {};
}

core::Status Daemon::start_webhooks() {
  auto client = WebhookClient::make(io_, config_.webhook_ca_file, webhook_rules(config_));
  if (!client) return std::unexpected(client.error());
  webhook_client_ = std::move(*client);
  webhooks_.emplace(io_, *store_, threads_, metrics_, *webhook_client_, webhook_options(config_));
  webhooks_->start();
  return {};
}

core::Status Daemon::load_tls() {
  if (config_.tls_certificate.empty()) return {};
  auto loaded = TlsFront::load({config_.tls_certificate, config_.tls_key});
  if (!loaded) return std::unexpected(loaded.error());
  tls_ = std::move(*loaded);
  return {};
}

/// A certificate is renewed every few weeks, and jobs that run should not hear of it.
void Daemon::reload_on_signal() {
  reload_signal_.async_wait([this](const boost::system::error_code& cancelled, int) {
    if (cancelled) return;
    if (!tls_) return reload_on_signal();  // it is still to be read
    if (const auto read = tls_->reload(); read) log_info("certificate read again", {{"file", config_.tls_certificate}});
    else log_error("the certificate stays as it was", {{"why", read.error()}});
    reload_on_signal();
  });
}

core::Status Daemon::listen() {
  const auto endpoint = parse_endpoint(config_.listen);
  if (!endpoint) return std::unexpected(endpoint.error());
  const ApiContext context{*jobs_,
                           *store_,
                           *catalogue_,
                           metrics_,
                           *access_,
                           config_.limits,
                           config_.compile,
                           config_.ceiling,
                           capabilities_,
                           sandbox::name(launcher_.cgroup_driver()),
                           &*images_,
                           config_.max_queued_jobs,
                           pages_.empty() ? nullptr : &pages_,
                           webhook_rules(config_),
                           unpack_with(importer_)};
  http_.emplace(io_, context, http_bounds(config_));
  const auto port = http_->listen(endpoint->address, endpoint->port, tls_ ? &*tls_ : nullptr);
  if (!port) return std::unexpected(port.error());
  const bool six = endpoint->address.find(':') != std::string::npos;
  fmt::print("listening on {}://{}{}{}:{}\n", tls_ ? "https" : "http", six ? "[" : "", endpoint->address, six ? "]" : "", *port);
  std::fflush(stdout);
  log_info("listening", {{"address", endpoint->address}, {"port", *port}, {"slots", config_.slots}});
  return {};
}

core::Status Daemon::start() {
  pool_.start([this](const core::Error& why) { on_launcher_lost(why); });
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (!error) on_signal(number);
  });
  if (!config_.tls_certificate.empty()) {
    reload_signal_.add(SIGHUP);
    reload_on_signal();
  }
  if (auto done = open_store(); !done) return done;
  if (auto done = check_access(); !done) return done;
  if (auto done = find_languages(); !done) return done;
  runner_.emplace(pool_, *catalogue_, LimitLevels{config_.limits, config_.compile, config_.ceiling, config_.max_artifact_bytes}, threads_,
                  metrics_, unpack_with(importer_));
  jobs_.emplace(
      io_, *store_, pool_, *runner_, *catalogue_, threads_, metrics_, shares_,
      JobQueue::Options{config_.max_queued_jobs, static_cast<int>(config_.max_attempts), std::chrono::milliseconds(config_.max_pause_ms)});
  if (auto done = jobs_->start(); !done) return done;
  retention_.emplace(io_, *store_, threads_, metrics_,
                     Retention::Options{std::chrono::seconds(config_.retention_max_age_s), config_.retention_max_jobs,
                                        std::chrono::seconds(config_.retention_blob_age_s)});
  retention_->start();
  if (auto done = start_webhooks(); !done) return done;
  if (auto done = load_tls(); !done) return done;
  if (auto done = listen(); !done) return done;
  serving_ = true;
  systemd_.ready();
  return {};
}

void Daemon::on_launcher_lost(const core::Error& why) {
  launcher_lost_ = core::Error{core::ErrorKind::internal, "the launcher is gone: " + why.what, why.sys_errno};
  io_.stop();
}

void Daemon::on_signal(int number) {
  if (stop_asked_ || !serving_) {
    log_warn("ended by a signal", {{"signal", number}, {"while", serving_ ? "draining" : "starting"}});
    end_at_once(serving_ ? kFailure : kSuccess);
  }
  stop_asked_ = true;
  systemd_.stopping();
  log_info("draining", {{"signal", number}, {"at_most_seconds", config_.drain_seconds}});
  signals_.async_wait([this](const boost::system::error_code& error, int next) {
    if (!error) on_signal(next);
  });
  asio::co_spawn(io_, shut_down(), asio::detached);
}

asio::awaitable<void> Daemon::shut_down() {
  http_->stop_accepting();
  retention_->stop();
  co_await jobs_->drain(steady_clock::now() + std::chrono::seconds(config_.drain_seconds));
  co_await http_->drain(steady_clock::now() + kHttpGrace);
  co_await webhooks_->drain(steady_clock::now() + kWebhookGrace);
  pool_.stop();
  systemd_.stop();
  boost::system::error_code ignored;
  signals_.cancel(ignored);
  reload_signal_.cancel(ignored);
  drained_ = true;
}

int Daemon::run() {
  while (!drained_ && !launcher_lost_ && !io_.stopped()) io_.run_one();
  if (launcher_lost_) {
    store_->close();
    log_error("ending", {{"why", *launcher_lost_}});
    end_at_once(kFailure);
  }
  io_.run_for(kLoopGrace);
  store_->close();
  if (!io_.stopped()) {
    log_warn("something still waited at the end");
    end_at_once(kSuccess);
  }
  threads_.join();
  log_info("ended");
  return kSuccess;
}

}  // namespace

int run_daemon(const Config& config) {
  auto prepared = prepare_as_root(config);
  if (!prepared) {
    log_error("cannot start", {{"why", prepared.error()}});
    return kFailure;
  }
  Daemon daemon(config, std::move(*prepared));
  if (auto started = daemon.start(); !started) {
    log_error("cannot start", {{"why", started.error()}});
    end_at_once(kFailure);
  }
  return daemon.run();
}

}  // namespace bailiff::server
