#pragma once
// Which languages this machine has: every definition's version command is run in the sandbox, side by side over the slots.
#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "images/catalogue.h"
#include "server/slot_pool.h"

namespace bailiff::server {

/// Runs `io` until all answers are there (or `io` is stopped, which is an Error). A language whose command does not end well is left out; a
/// sandbox that cannot run any command at all is an Error.
core::Result<images::Catalogue> load_catalogue(boost::asio::io_context& io, SlotPool& pool, const std::string& directory,
                                               const std::vector<images::Image>& images, const core::Limits& ceiling);

}  // namespace bailiff::server
