#pragma once
// The images of this server while it runs: what the store holds is offered, brought in and removed, in the catalogue, in the launcher and
// on disk alike. Called on the io thread, which decides; whatever waits for the disk, the launcher or the store's lock is done by a thread
// of the service's own, one thing after the other.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/result.h"
#include "images/catalogue.h"
#include "images/image_import.h"
#include "images/image_store.h"
#include "sandbox/client.h"
#include "storage/store.h"

namespace bailiff::server {

class ImageService {
 public:
  /// `launcher` and `jobs` outlive it.
  ImageService(images::ImageStore store, const images::ImportWorker& worker, sandbox::Launcher& launcher, storage::Store& jobs);
  ImageService(const ImageService&) = delete;
  ImageService& operator=(const ImageService&) = delete;
  /// Waits for what was begun.
  ~ImageService() { thread_.join(); }

  /// Holds every image of the store and has the launcher mount it; what cannot be is logged and left out. Blocks: for the start.
  struct Mounted {
    std::vector<images::Image> built;    // made or brought by who runs the server: languages are looked for in them
    std::vector<images::Image> brought;  // over HTTP: for jobs that name them, and for nothing else
  };
  [[nodiscard]] Mounted mount_all();
  /// What comes and goes from now on is offered there. Outlives the service.
  void use(images::Catalogue& catalogue) { catalogue_ = &catalogue; }

  /// Remembers what the languages' version commands said, by image and language, for the next start.
  void note(const std::map<std::string, std::map<std::string, images::ProbedVersion>>& versions);

  /// Names that definitions of languages use: no import over HTTP takes one.
  void reserve(std::set<std::string> names) { reserved_ = std::move(names); }
  [[nodiscard]] bool is_reserved(const std::string& name) const { return reserved_.contains(name); }

  /// An unnamed file for an archive on its way in. unavailable: there are kMaxArchives of them already, or the disk is full.
  [[nodiscard]] core::Result<std::shared_ptr<core::Fd>> archive_file();
  static constexpr std::size_t kMaxArchives = 4;
  /// While it lives, a job that names the image is on its way to the store, and the image is used. Null where it is closed to new jobs,
  /// for it is being replaced or removed; jobs that were accepted before still run in it.
  [[nodiscard]] std::shared_ptr<const void> begin_submission(const std::string& image);
  /// invalid: the archive or the name is refused; conflict: jobs or languages use what has the name now, or another change is on its way.
  boost::asio::awaitable<core::Result<images::Imported>> import(std::string name, core::Fd archive);
  /// not_found; conflict: it is the host image, or jobs or languages use it.
  boost::asio::awaitable<core::Status> remove(std::string name);
  /// Languages of the catalogue that run in the image.
  [[nodiscard]] std::vector<std::string> languages_in(const std::string& name) const;

 private:
  using Names = std::multiset<std::string>;
  /// Counts the name in `names` while it lives, which may be longer than the service.
  static std::shared_ptr<const void> count_in(const std::shared_ptr<Names>& names, const std::string& name);
  [[nodiscard]] core::Status check_changeable(const std::string& name) const;
  [[nodiscard]] core::Status check_unused_by_languages(const std::string& name) const;
  boost::asio::awaitable<core::Status> check_unused_by_jobs(std::string name, std::string digest);

  // On the service's thread, and before it has anything to do.
  core::Status mount(const std::string& digest);
  core::Status unmount(const std::string& digest);
  core::Result<images::Imported> bring_in(const std::string& name, int archive);
  core::Status take_out(const images::Image& image);
  [[nodiscard]] bool is_named(const std::string& digest, const std::string& but) const;
  /// What stood behind a name that means something else now.
  void drop(const images::Image& old);

  images::ImageStore store_;
  const images::ImportWorker& worker_;
  sandbox::Launcher& launcher_;  // its images are the thread's too
  storage::Store& jobs_;
  images::Catalogue* catalogue_ = nullptr;
  std::set<std::string> reserved_;
  std::map<std::string, core::Fd> held_;  // by digest: what is mounted; the thread's
  std::shared_ptr<Names> changing_ = std::make_shared<Names>(), submitting_ = std::make_shared<Names>();
  std::vector<std::weak_ptr<core::Fd>> archives_;
  boost::asio::thread_pool thread_{1};
};

}  // namespace bailiff::server
