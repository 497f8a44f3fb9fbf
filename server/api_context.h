#pragma once
// What the HTTP API stands on. Made by main(), outlives the HttpServer.
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "images/catalogue.h"
#include "sandbox/client.h"
#include "server/access.h"
#include "server/job_archive.h"
#include "server/jobs.h"
#include "server/metrics.h"
#include "server/webhook_target.h"
#include "storage/store.h"

namespace bailiff::server {

class ImageService;
class WebPages;

struct ApiContext {
  Jobs& jobs;                           // io thread only
  storage::Store& store;                // reads only, from any thread
  const images::Catalogue& catalogue;
  Metrics& metrics;
  Access& access;
  core::Limits default_limits = core::default_limits();
  core::Limits compile_default_limits = core::default_limits();
  core::Limits ceiling = core::ceiling_limits();
  std::vector<sandbox::Capability> capabilities = {};  // shown by GET /v1/system
  std::string_view cgroup_driver = "cgroupfs";                  // that is in use; a literal
  ImageService* images = nullptr;       // null: images cannot be changed
  std::uint64_t queue_bound = 100'000;  // most queued jobs; Jobs::submit enforces it, the API tells it
  const WebPages* pages = nullptr;      // not empty; nullptr: there are none
  WebhookRules webhooks = {};           // which a job may have
  Unpack unpack = {};                   // empty: no job may bring an archive

  /// True where the host was looked at and has not this capability.
  [[nodiscard]] bool lacks(std::string_view capability) const {
    const auto found = std::ranges::find(capabilities, capability, &sandbox::Capability::name);
    return found != capabilities.end() && !found->present;
  }
};

}  // namespace bailiff::server
