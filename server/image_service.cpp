#include "server/image_service.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "images/file_range.h"
#include "images/file_tree.h"
#include "server/async_result.h"
#include "server/log.h"

namespace bailiff::server {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

constexpr int kPageJobs = 200;

std::unexpected<core::Error> conflict(std::string what) { return core::error(core::ErrorKind::conflict, std::move(what)); }

/// Whether a job in one of these states names the digest; what its author wrote may name it too, which only makes us careful.
core::Result<bool> is_named_by_jobs(storage::Store& jobs, core::JobState state, const std::string& digest) {
  storage::ListQuery query;
  query.state = state;
  query.limit = kPageJobs;
  while (true) {
    const auto page = jobs.list(query);
    if (!page) return std::unexpected(page.error());
    if (std::ranges::any_of(*page, [&](const storage::StoredJob& job) { return job.request.contains(digest); })) return true;
    if (page->size() < static_cast<std::size_t>(kPageJobs)) return false;
    query.before_id = page->back().id;
  }
}

/// Pages are read one by one, and a job may go from the queue into a slot and back meanwhile: both are looked at twice. None is added,
/// for the image is closed to new jobs.
core::Result<bool> is_used(storage::Store& jobs, const std::string& digest) {
  using enum core::JobState;
  for (const auto state : {queued, running, queued, running})
    if (const auto named = is_named_by_jobs(jobs, state, digest); !named || *named) return named;
  return false;
}

}  // namespace

ImageService::ImageService(images::ImageStore store, const images::ImportWorker& worker, sandbox::Launcher& launcher, storage::Store& jobs)
    : store_(std::move(store)), worker_(worker), launcher_(launcher), jobs_(jobs) {}

core::Status ImageService::mount(const std::string& digest) {
  if (held_.contains(digest)) return {};
  auto held = store_.hold(digest);
  if (!held) return std::unexpected(held.error());
  if (auto added = launcher_.add_image(images::content_name(digest)); !added) return added;
  held_.emplace(digest, std::move(*held));
  return {};
}

core::Status ImageService::unmount(const std::string& digest) {
  if (auto gone = launcher_.remove_image(images::content_name(digest)); !gone) return gone;
  held_.erase(digest);
  return {};
}

ImageService::Mounted ImageService::mount_all() {
  Mounted mounted;
  const auto stored = store_.list();
  if (!stored) log_error("cannot list the images", {{"why", stored.error()}});
  if (!stored) return mounted;
  for (const auto& entry : *stored) {
    if (auto done = mount(entry.digest); !done) log_error("an image is left out", {{"image", entry.name}, {"why", done.error()}});
    else (entry.source == images::kSourceHttp ? mounted.brought : mounted.built).push_back(images::image_of(entry));
  }
  return mounted;
}

void ImageService::note(const std::map<std::string, std::map<std::string, images::ProbedVersion>>& versions) {
  for (const auto& [name, found] : versions) {
    const auto image = catalogue_->find_image(name);
    if (image == nullptr) continue;
    if (auto noted = store_.note_versions(name, image->digest, found); !noted)
      log_warn("the languages of an image will be asked again", {{"image", name}, {"why", noted.error()}});
  }
}

core::Result<std::shared_ptr<core::Fd>> ImageService::archive_file() {
  std::erase_if(archives_, [](const auto& archive) { return archive.expired(); });
  if (archives_.size() >= kMaxArchives) return core::error(core::ErrorKind::unavailable, "too many archives at once");
  core::Fd file(::open(store_.directory().c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!file.valid()) return core::errno_error("make a file for an archive");
  if (auto room = images::check_disk(file.get(), 0, images::ImportBounds{}.disk_floor_bytes); !room)
    return std::unexpected(std::move(room.error()));
  auto shared = std::make_shared<core::Fd>(std::move(file));
  archives_.push_back(shared);
  return shared;
}

std::vector<std::string> ImageService::languages_in(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& language : catalogue_->languages())
    if (language.image == name) names.push_back(language.name);
  return names;
}

std::shared_ptr<const void> ImageService::count_in(const std::shared_ptr<Names>& names, const std::string& name) {
  const auto uncount = [names, at = names->insert(name)](const void*) { names->erase(at); };
  return {static_cast<const void*>(names.get()), uncount};
}

std::shared_ptr<const void> ImageService::begin_submission(const std::string& image) {
  return changing_->contains(image) ? nullptr : count_in(submitting_, image);
}

core::Status ImageService::check_changeable(const std::string& name) const {
  if (changing_->contains(name)) return conflict("the image is being changed");
  if (is_reserved(name)) return conflict("languages are defined for an image of this name; `bailiff image` brings it");
  return {};
}

core::Status ImageService::check_unused_by_languages(const std::string& name) const {
  const auto languages = languages_in(name);
  if (languages.empty()) return {};
  return conflict(fmt::format("languages are offered in it: {}", fmt::join(languages, " ")));
}

awaitable<core::Status> ImageService::check_unused_by_jobs(std::string name, std::string digest) {
  if (submitting_->contains(name)) co_return conflict("jobs that have not ended use it");
  auto look = [this, digest] { return is_used(jobs_, digest); };
  auto looking = offload(thread_, std::move(look));
  const auto used = co_await std::move(looking);
  if (!used) co_return std::unexpected(used.error());
  if (*used) co_return conflict("jobs that have not ended use it");
  co_return core::Status{};
}

awaitable<core::Result<images::Imported>> ImageService::import(std::string name, core::Fd archive) {
  if (auto can = check_changeable(name); !can) co_return std::unexpected(can.error());
  // No job can begin to name the old content from here on, so that what the look at the jobs finds stays true; those that did can run.
  const auto closed = count_in(changing_, name);
  const auto old = catalogue_->find_image(name);
  if (old != nullptr) {
    if (auto unused = check_unused_by_languages(name); !unused) co_return std::unexpected(unused.error());
    const auto unused = co_await check_unused_by_jobs(name, old->digest);
    if (!unused) co_return std::unexpected(unused.error());
  }
  auto shared = std::make_shared<core::Fd>(std::move(archive));
  auto work = [this, name, shared] { return bring_in(name, shared->get()); };
  auto importing = offload(thread_, std::move(work));
  auto imported = co_await std::move(importing);
  if (!imported) co_return imported;
  const auto image = images::image_of(imported->image);
  catalogue_->offer(image);
  log_info("image imported", {{"image", image.name}, {"digest", image.digest}, {"bytes", image.bytes}});
  if (old == nullptr || old->digest == image.digest) co_return imported;
  auto clear = [this, gone = *old] {
    drop(gone);
    return true;
  };
  auto clearing = offload(thread_, std::move(clear));
  (void)co_await std::move(clearing);
  co_return imported;
}

core::Result<images::Imported> ImageService::bring_in(const std::string& name, int archive) {
  std::string fresh;  // mounted by us, just now
  images::ImportRequest request{.name = name, .source = std::string(images::kSourceHttp)};
  request.before_named = [&](const images::StoredImage& image) {
    if (!held_.contains(image.digest)) fresh = image.digest;
    return mount(image.digest);
  };
  auto imported = images::import_image(store_, worker_, request, archive);
  if (!imported && held_.contains(fresh)) {
    if (auto gone = unmount(fresh); !gone) log_warn("an image stays mounted", {{"image", name}, {"why", gone.error()}});
    if (auto collected = store_.collect_garbage(); !collected) log_warn("a failed import stays", {{"why", collected.error()}});
  }
  return imported;
}

bool ImageService::is_named(const std::string& digest, const std::string& but) const {
  const auto is_other = [&](const auto& image) { return image.digest == digest && image.name != but; };
  // A name may have left the catalogue, for it is being changed, or the store, for somebody removed it there: either counts.
  const auto stored = store_.list();
  return !stored || std::ranges::any_of(*stored, is_other) || std::ranges::any_of(catalogue_->images(), is_other);
}

void ImageService::drop(const images::Image& old) {
  if (is_named(old.digest, old.name)) return;
  if (auto gone = unmount(old.digest); !gone) log_warn("an image stays mounted", {{"image", old.name}, {"why", gone.error()}});
  if (auto collected = store_.collect_garbage(); !collected) log_warn("old images stay", {{"why", collected.error()}});
}

awaitable<core::Status> ImageService::remove(std::string name) {
  if (changing_->contains(name)) co_return conflict("the image is being changed");
  const auto image = catalogue_->find_image(name);
  if (image == nullptr) co_return core::error(core::ErrorKind::not_found, "no such image");
  if (image->kind != "erofs") co_return conflict("the host image cannot be removed");
  if (auto can = check_changeable(name); !can) co_return can;
  if (auto unused = check_unused_by_languages(name); !unused) co_return unused;
  const auto closed = count_in(changing_, name);
  auto removed = co_await check_unused_by_jobs(name, image->digest);
  if (!removed) co_return removed;
  catalogue_->withdraw(name);
  auto work = [this, gone = *image] { return take_out(gone); };
  auto removing = offload(thread_, std::move(work));
  removed = co_await std::move(removing);
  if (!removed) catalogue_->offer(*image);
  if (removed) log_info("image removed", {{"image", image->name}, {"digest", image->digest}});
  co_return removed;
}

core::Status ImageService::take_out(const images::Image& image) {
  const bool last = !is_named(image.digest, image.name);
  if (last)
    if (auto gone = unmount(image.digest); !gone) return gone;
  auto removed = store_.remove(image.name);
  if (!removed && removed.error().kind == core::ErrorKind::not_found) removed = {};  // somebody removed it from the directory
  if (!removed && last)
    if (auto again = mount(image.digest); !again)
      log_error("an image is not offered any more", {{"image", image.name}, {"why", again.error()}});
  return removed;
}

}  // namespace bailiff::server
