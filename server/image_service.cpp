#include "server/image_service.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "server/async_result.h"
#include "server/log.h"

namespace bailiff::server {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

constexpr int kPageJobs = 200;

std::unexpected<core::Error> conflict(std::string what) { return core::error(core::ErrorKind::conflict, std::move(what)); }

/// Whether a job that has not ended names the digest; what its author wrote may name it too, which only makes us careful.
core::Result<bool> is_used(storage::Store& jobs, const std::string& digest) {
  for (const auto state : {core::JobState::queued, core::JobState::running}) {
    storage::ListQuery query;
    query.state = state;
    query.limit = kPageJobs;
    while (true) {
      const auto page = jobs.list(query);
      if (!page) return std::unexpected(page.error());
      if (std::ranges::any_of(*page, [&](const storage::StoredJob& job) { return job.request.contains(digest); })) return true;
      if (page->size() < static_cast<std::size_t>(kPageJobs)) break;
      query.before_id = page->back().id;
    }
  }
  return false;
}

/// While it lives no other change of the name begins.
class Change {
 public:
  Change(std::set<std::string>& changing, std::string name) : changing_(changing), name_(std::move(name)) { changing_.insert(name_); }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;
  ~Change() { changing_.erase(name_); }

 private:
  std::set<std::string>& changing_;
  std::string name_;
};

}  // namespace

ImageService::ImageService(images::ImageStore store, images::ImportWorker worker, sandbox::Launcher& launcher, storage::Store& jobs)
    : store_(std::move(store)), worker_(std::move(worker)), launcher_(launcher), jobs_(jobs) {}

core::Status ImageService::mount(const images::Image& image) {
  if (held_.contains(image.digest)) return {};
  auto held = store_.hold(image.digest);
  if (!held) return std::unexpected(held.error());
  if (auto added = launcher_.add_image(image.sandbox_name()); !added) return added;
  held_.emplace(image.digest, std::move(*held));
  return {};
}

core::Status ImageService::unmount(const std::string& digest) {
  held_.erase(digest);
  return launcher_.remove_image(images::content_name(digest));
}

std::vector<images::Image> ImageService::mount_all() {
  std::vector<images::Image> offered;
  const auto stored = store_.list();
  if (!stored) log_error("cannot list the images", {{"why", stored.error()}});
  if (!stored) return offered;
  for (const auto& entry : *stored) {
    auto image = images::image_of(entry);
    if (auto mounted = mount(image); !mounted) log_error("an image is left out", {{"image", image.name}, {"why", mounted.error()}});
    else offered.push_back(std::move(image));
  }
  return offered;
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

bool ImageService::has_other_name(const images::Image& image) const {
  return std::ranges::any_of(catalogue_->images(),
                             [&](const auto& other) { return other.digest == image.digest && other.name != image.name; });
}

core::Status ImageService::check_unused_by_languages(const std::string& name) const {
  const auto languages = languages_in(name);
  if (languages.empty()) return {};
  return conflict(fmt::format("languages are offered in it: {}", fmt::join(languages, " ")));
}

awaitable<core::Status> ImageService::check_unused_by_jobs(std::string digest) {
  auto look = [this, digest] { return is_used(jobs_, digest); };
  const auto used = co_await offload(thread_, std::move(look));
  if (!used) co_return std::unexpected(used.error());
  if (*used) co_return conflict("jobs that have not ended use it");
  co_return core::Status{};
}

awaitable<core::Result<images::Imported>> ImageService::import(std::string name, core::Fd archive) {
  if (changing_.contains(name)) co_return conflict("the image is being changed");
  const Change change(changing_, name);
  // No job can begin to name the old content from here on, so that what the look at the jobs finds stays true.
  const auto old = catalogue_->find_image(name);
  if (old != nullptr) {
    if (auto unused = check_unused_by_languages(name); !unused) co_return std::unexpected(unused.error());
    catalogue_->withdraw(name);
    const auto unused = co_await check_unused_by_jobs(old->digest);
    if (!unused) catalogue_->offer(*old);
    if (!unused) co_return std::unexpected(unused.error());
  }
  auto imported = co_await import_unlisted(name, std::move(archive));
  if (!imported && old != nullptr) catalogue_->offer(*old);
  if (imported && old != nullptr && old->digest != imported->image.digest && !has_other_name(*old)) {
    if (auto gone = unmount(old->digest); !gone) log_warn("an image stays mounted", {{"image", name}, {"why", gone.error()}});
    if (auto collected = store_.collect_garbage(); !collected) log_warn("old images stay", {{"why", collected.error()}});
  }
  co_return imported;
}

awaitable<core::Result<images::Imported>> ImageService::import_unlisted(std::string name, core::Fd archive) {
  auto shared = std::make_shared<core::Fd>(std::move(archive));
  auto work = [this, name, shared] { return images::import_image(store_, worker_, {.name = name}, shared->get()); };
  auto imported = co_await offload(thread_, std::move(work));
  if (!imported) co_return imported;
  const auto image = images::image_of(imported->image);
  if (auto mounted = mount(image); !mounted) {
    (void)store_.remove(name);
    co_return std::unexpected(mounted.error());
  }
  catalogue_->offer(image);
  log_info("image imported", {{"image", image.name}, {"digest", image.digest}, {"bytes", image.bytes}});
  co_return imported;
}

awaitable<core::Status> ImageService::remove(std::string name) {
  if (changing_.contains(name)) co_return conflict("the image is being changed");
  const auto image = catalogue_->find_image(name);
  if (image == nullptr) co_return core::error(core::ErrorKind::not_found, "no such image");
  if (image->kind != "erofs") co_return conflict("the host image cannot be removed");
  if (auto unused = check_unused_by_languages(name); !unused) co_return unused;
  const Change change(changing_, name);
  catalogue_->withdraw(name);
  auto removed = co_await check_unused_by_jobs(image->digest);
  if (removed) removed = co_await remove_unlisted(*image);
  if (!removed) catalogue_->offer(*image);
  co_return removed;
}

awaitable<core::Status> ImageService::remove_unlisted(images::Image image) {
  const bool last = !has_other_name(image);
  if (last)
    if (auto gone = unmount(image.digest); !gone) co_return gone;
  auto work = [this, name = image.name] { return store_.remove(name); };
  auto removed = co_await offload(thread_, std::move(work));
  if (!removed && removed.error().kind == core::ErrorKind::not_found) removed = {};  // somebody removed it from the directory
  if (!removed && last)
    if (auto again = mount(image); !again) log_error("an image is not offered any more", {{"image", image.name}, {"why", again.error()}});
  if (removed) log_info("image removed", {{"image", image.name}, {"digest", image.digest}});
  co_return removed;
}

}  // namespace bailiff::server
