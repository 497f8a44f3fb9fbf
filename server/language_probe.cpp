#include "server/language_probe.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>

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

/// One language in one image that may have it.
struct Question {
  const images::Language* language;
  const images::Image* image;
};

struct Probes {
  std::vector<images::Language> languages;
  std::vector<images::Image> images;
  core::Limits limits;
  std::map<std::pair<std::string, std::string>, std::string> versions;  // by language and image; empty: not there
  std::vector<core::Error> errors;
  std::size_t waiting = 0;
  bool over = false;  // nobody waits for the answers any more
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

asio::awaitable<void> probe(asio::io_context& io, SlotPool& pool, Question question, std::shared_ptr<Probes> probes) {
  const auto [language, image] = question;
  auto answer = co_await ask(pool, *language, *image, probes->limits);
  if (!answer && answer.error().kind == core::ErrorKind::unavailable)
    answer = co_await ask(pool, *language, *image, probes->limits);  // in another slot
  if (probes->over) co_return;
  if (!answer) {
    log_error("cannot ask for a language's version", {{"language", language->name}, {"image", image->name}, {"why", answer.error()}});
    probes->errors.push_back(answer.error());
  } else {
    probes->versions[{language->name, image->name}] = images::first_line(*answer);
  }
  if (--probes->waiting == 0) io.stop();
}

/// Sparing the sandbox the search: it would find no tool that is not there.
bool may_be_on_host(const images::Language& language) {
  return std::ranges::all_of(std::array{&language.version_command, &language.compile, &language.run}, [&](const auto* argv) {
    return argv->empty() || argv->front().starts_with("./") || images::find_host_tool(argv->front(), language.env);
  });
}

/// What is known already goes to `probes`, what is not is returned.
std::vector<Question> questions(Probes& probes) {
  std::vector<Question> open;
  for (const auto& language : probes.languages) {
    for (const auto* image : images::candidates(language, probes.images)) {
      const auto known = image->versions.find(language.name);
      if (known != image->versions.end() && known->second.command == language.version_command)
        probes.versions[{language.name, image->name}] = known->second.version;
      else if (image->kind != "host" || may_be_on_host(language)) open.push_back({&language, image});
    }
  }
  return open;
}

}  // namespace

core::Result<FoundLanguages> load_catalogue(asio::io_context& io, SlotPool& pool, const std::string& directory,
                                            const std::vector<images::Image>& images, const core::Limits& ceiling) {
  auto languages = images::read_definitions(directory);
  if (!languages) return std::unexpected(languages.error());
  // Shared with those that ask: one that gets no answer in time is still there when this ends.
  const auto shared = std::make_shared<Probes>(Probes{std::move(*languages), images, probe_limits(ceiling), {}, {}, 0, false});
  Probes& probes = *shared;
  const auto open = questions(probes);
  probes.waiting = open.size();
  for (const auto& question : open) asio::co_spawn(io, probe(io, pool, question, shared), asio::detached);
  const auto deadline = std::chrono::steady_clock::now() + kAllProbes;
  if (probes.waiting > 0) {
    io.restart();
    io.run_for(kAllProbes);
    io.restart();
  }
  probes.over = true;
  if (probes.waiting > 0 && std::chrono::steady_clock::now() < deadline)
    return core::error(core::ErrorKind::internal, "the languages were not asked: the server ends");
  for (const auto& [language, image] : open)
    if (probes.waiting > 0 && !probes.versions.contains({language->name, image->name}))
      log_error("an image does not answer for a language", {{"language", language->name}, {"image", image->name}});
  if (probes.versions.empty() && (!probes.errors.empty() || probes.waiting > 0))
    return core::error(core::ErrorKind::internal,
                       "the sandbox runs nothing: " + (probes.errors.empty() ? "no answer" : probes.errors[0].what));
  auto catalogue = images::Catalogue::load(directory, images, [&](const images::Language& language) -> std::optional<std::string> {
    const auto found = probes.versions.find({language.name, language.image});
    if (found == probes.versions.end() || found->second.empty()) return std::nullopt;
    return found->second;
  });
  if (!catalogue) return std::unexpected(catalogue.error());
  FoundLanguages found{std::move(*catalogue), {}, {}};
  for (const auto& language : probes.languages) found.image_names.insert(language.image);
  for (const auto& [language, image] : open)
    if (const auto answer = probes.versions.find({language->name, image->name}); image->kind != "host" && answer != probes.versions.end())
      found.news[image->name][language->name] = {language->version_command, answer->second};
  return found;
}

}  // namespace bailiff::server
