#pragma once
// The images of this server while it runs: what the store holds is offered, brought in and removed, in the catalogue, in the launcher and
// on disk alike. All on the io thread; what takes long is done by a thread of its own.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
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
  ImageService(images::ImageStore store, images::ImportWorker worker, sandbox::Launcher& launcher, storage::Store& jobs);
  ImageService(const ImageService&) = delete;
  ImageService& operator=(const ImageService&) = delete;
  /// Waits for what was begun.
  ~ImageService() { thread_.join(); }

  /// Holds every image of the store and has the launcher mount it; what cannot be is logged and left out. Blocks: for the start.
  [[nodiscard]] std::vector<images::Image> mount_all();
  /// What comes and goes from now on is offered there. Outlives the service.
  void use(images::Catalogue& catalogue) { catalogue_ = &catalogue; }

  /// Remembers what the languages' version commands said, by image and language, for the next start.
  void note(const std::map<std::string, std::map<std::string, images::ProbedVersion>>& versions);

  /// An unnamed file for an archive on its way in. unavailable: there are kMaxArchives of them already.
  [[nodiscard]] core::Result<std::shared_ptr<core::Fd>> archive_file();
  static constexpr std::size_t kMaxArchives = 4;
  /// invalid: the archive or the name is refused; conflict: jobs or languages use what has the name now, or another change is on its way.
  boost::asio::awaitable<core::Result<images::Imported>> import(std::string name, core::Fd archive);
  /// not_found; conflict: it is the host image, or jobs or languages use it.
  boost::asio::awaitable<core::Status> remove(std::string name);
  /// Languages of the catalogue that run in the image.
  [[nodiscard]] std::vector<std::string> languages_in(const std::string& name) const;

 private:
  core::Status mount(const images::Image& image);
  core::Status unmount(const std::string& digest);
  core::Status check_unused_by_languages(const std::string& name) const;
  boost::asio::awaitable<core::Status> check_unused_by_jobs(std::string digest);
  boost::asio::awaitable<core::Result<images::Imported>> import_unlisted(std::string name, core::Fd archive);
  boost::asio::awaitable<core::Status> remove_unlisted(images::Image image);
  [[nodiscard]] bool has_other_name(const images::Image& image) const;

  images::ImageStore store_;
  images::ImportWorker worker_;
  sandbox::Launcher& launcher_;
  storage::Store& jobs_;
  images::Catalogue* catalogue_ = nullptr;
  std::map<std::string, core::Fd> held_;  // by digest: what is mounted
  std::set<std::string> changing_;  // names
  std::vector<std::weak_ptr<core::Fd>> archives_;
  boost::asio::thread_pool thread_{1};
};

}  // namespace bailiff::server
