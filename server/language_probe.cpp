#include "server/language_probe.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>

#include "sandbox/tree.h"
#include "server/log.h"
#include "server/step_plan.h"

namespace bailiff::server {

namespace asio = boost::asio;

namespace {

constexpr auto kAllProbes = std::chrono::seconds(180);

/// Room for a JVM or a compiler driver to say its version.
core::Limits probe_limits(const core::Limits& ceiling) {
  core::Limits limits = core::default_limits();
  limits.memory_bytes = core::kGiB;
  limits.processes = 256;
  limits.wall_time_us = 20'000'000;
  limits.output_bytes = 64 * core::kKiB;
  return core::at_most(limits, ceiling);
}

struct Probes {
  std::map<std::string, std::string> versions;  // of the languages that are there
  std::vector<core::Error> errors;
  std::size_t waiting = 0;
};

asio::awaitable<core::Result<std::string>> ask(SlotPool& pool, const images::Language& language, const images::Image& image,
                                               const core::Limits& limits) {
  auto lease = co_await pool.acquire(SlotLine::new_job);
  if (!lease) co_return core::error(core::ErrorKind::unavailable, "there are no slots");
  auto out = sandbox::output_memfd();
  auto err = sandbox::output_memfd();
  if (!out || !err) co_return std::unexpected(!out ? out.error() : err.error());
  sandbox::StepRequest request;
  request.image = image.sandbox_name();
  request.argv = language.version_command;
  request.env = environment_of({&image.env, &language.env});
  request.limits = limits;
  request.stdout_fd = std::move(*out);
  request.stderr_fd = std::move(*err);
  auto report = co_await lease->run(request);
  if (!report) co_return std::unexpected(report.error());
  if (report->outcome.verdict != core::Verdict::ok) {
    log_debug("language not found", {{"language", language.name}, {"verdict", core::name(report->outcome.verdict)}});
    co_return std::string();
  }
  auto text = sandbox::read_all(request.stdout_fd.get());
  if (text && text->empty()) text = sandbox::read_all(request.stderr_fd.get());  // java -version and others
  co_return text;
}

asio::awaitable<void> probe(asio::io_context& io, SlotPool& pool, const images::Language& language, const images::Image& image,
                            const core::Limits& limits, Probes& probes) {
  auto answer = co_await ask(pool, language, image, limits);
  if (!answer && answer.error().kind == core::ErrorKind::unavailable)
    answer = co_await ask(pool, language, image, limits);  // in another slot
  if (!answer) {
    log_error("cannot ask for a language's version", {{"language", language.name}, {"why", answer.error()}});
    probes.errors.push_back(answer.error());
  } else if (!answer->empty()) {
    probes.versions[language.name] = *answer;
  }
  if (--probes.waiting == 0) io.stop();
}

}  // namespace

core::Result<images::Catalogue> load_catalogue(asio::io_context& io, SlotPool& pool, const std::string& directory,
                                               const std::vector<images::Image>& images, const core::Limits& ceiling) {
  const auto all = images::Catalogue::load(directory, images, [](const images::Language&) { return std::string("not asked yet"); });
  if (!all) return std::unexpected(all.error());
  const auto limits = probe_limits(ceiling);
  Probes probes;
  probes.waiting = all->languages().size();
  for (const auto& language : all->languages()) {
    const auto image = std::ranges::find(images, language.image, &images::Image::name);  // every language's is there
    asio::co_spawn(io, probe(io, pool, language, *image, limits, probes), asio::detached);
  }
  if (probes.waiting > 0) {
    io.restart();
    io.run_for(kAllProbes);
    io.restart();
  }
  if (probes.waiting > 0) return core::error(core::ErrorKind::internal, "the slots did not answer for every language's version");
  if (probes.versions.empty() && !probes.errors.empty())
    return core::error(core::ErrorKind::internal, "the sandbox runs nothing: " + probes.errors.front().what);
  return images::Catalogue::load(directory, images, [&](const images::Language& language) -> std::optional<std::string> {
    const auto found = probes.versions.find(language.name);
    if (found == probes.versions.end()) return std::nullopt;
    return found->second;
  });
}

}  // namespace bailiff::server
