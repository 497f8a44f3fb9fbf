#include "server/job_watch.h"

#include "server/wake_up.h"

namespace bailiff::server {

class JobWatches::Watch final : public JobWatch {
 public:
  Watch(JobWatches& all, const std::vector<std::string>& ids, News news) : all_(all), news_(news), woken_(all.executor_) {
    places_.reserve(ids.size());
    for (const auto& id : ids) places_.push_back(all_.watches_.emplace(id, this));
  }
  ~Watch() override {
    for (const auto& place : places_) all_.watches_.erase(place);
  }
  boost::asio::awaitable<std::vector<std::string>> changed(std::chrono::steady_clock::time_point deadline) override {
    while (changed_.empty() && !over_ && !all_.over_ && std::chrono::steady_clock::now() < deadline) co_await woken_.wait_until(deadline);
    std::vector<std::string> ids;
    if (!over_) ids.assign(changed_.begin(), changed_.end());
    changed_.clear();
    co_return ids;
  }
  void tell(const std::string& id, bool ended) {
    if (!ended && news_ == News::ends) return;
    changed_.insert(id);
    woken_.all();
  }
  void end() override {
    over_ = true;
    woken_.all();
  }

 private:
  JobWatches& all_;
  const News news_;
  WakeUp woken_;
  std::vector<std::multimap<std::string, Watch*>::iterator> places_;
  std::set<std::string> changed_;
  bool over_ = false;
};

std::unique_ptr<JobWatch> JobWatches::watch(const std::vector<std::string>& ids, News news) {
  return std::make_unique<Watch>(*this, ids, news);
}

void JobWatches::tell(const std::string& id, bool ended) {
  const auto [begin, end] = watches_.equal_range(id);
  for (auto watch = begin; watch != end; ++watch) watch->second->tell(id, ended);
}

void JobWatches::end() {
  over_ = true;
  for (const auto& [id, watch] : watches_) watch->end();
}

}  // namespace bailiff::server
