#pragma once
// Which languages this machine has: every definition's version command is run in the sandbox, side by side over the slots, except where an
// image is known to answer it.
#include <boost/asio/io_context.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "images/catalogue.h"
#include "server/slot_pool.h"

namespace bailiff::server {

struct FoundLanguages {
  images::Catalogue catalogue;
  std::map<std::string, std::map<std::string, images::ProbedVersion>> news;  // by image, by language: what was asked now; not of `host`
  std::set<std::string> image_names;  // that definitions have, of images that are there or not
};

/// Runs `io` until all answers are there or the time for them is over (or `io` is stopped, which is an Error). A language whose command
/// does not end well, or not in time, is left out, in that image; a sandbox that cannot run any command at all is an Error.
core::Result<FoundLanguages> load_catalogue(boost::asio::io_context& io, SlotPool& pool, const std::string& directory,
                                            const std::vector<images::Image>& images, const core::Limits& ceiling);

}  // namespace bailiff::server
