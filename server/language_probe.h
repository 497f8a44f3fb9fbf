#pragma once
// Which languages this machine has: every definition's version command is run in the sandbox, side by side over the slots, except where an
// image is known to answer it.
#include <boost/asio/io_context.hpp>
#include <map>
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
};

/// Runs `io` until all answers are there (or `io` is stopped, which is an Error). A language whose command does not end well is left out; a
/// sandbox that cannot run any command at all is an Error.
core::Result<FoundLanguages> load_catalogue(boost::asio::io_context& io, SlotPool& pool, const std::string& directory,
                                            const std::vector<images::Image>& images, const core::Limits& ceiling);

}  // namespace bailiff::server
