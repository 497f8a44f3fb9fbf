#pragma once
// Who waits for news of which job. io thread only.
#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/jobs.h"

namespace bailiff::server {

class JobWatches {
 public:
  explicit JobWatches(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}
  JobWatches(const JobWatches&) = delete;
  JobWatches& operator=(const JobWatches&) = delete;

  /// Does not outlive this object.
  [[nodiscard]] std::unique_ptr<JobWatch> watch(const std::vector<std::string>& ids, News news);
  /// `ended`: its state changed, perhaps to its end. Those who wait for ends only are not told of anything else.
  void tell(const std::string& id, bool ended);
  /// Nobody waits any longer, now and from now on.
  void end();

 private:
  class Watch;
  boost::asio::any_io_executor executor_;
  std::multimap<std::string, Watch*> watches_;
  bool over_ = false;
};

}  // namespace bailiff::server
