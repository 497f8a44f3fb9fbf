#pragma once
// From the JSON of one job to what is stored of it: what the creation of one job and of many have in common.
#include <expected>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_context.h"
#include "server/api_problem.h"
#include "storage/store.h"

namespace bailiff::server {

/// Everything about a new job that its JSON tells.
struct AcceptedJob {
  storage::NewJob job;  // without a digest
  std::string image;    // its name
  std::optional<core::Content> archive{};  // that is still to be looked into: fault_of_archive()
  core::Limits archive_limits{};           // that it must fit in
  std::set<std::string, std::less<>> placed{};  // paths of the files over it
};
/// Pointers of the faults begin at the job; `duplicates` are those that its text had. `owner` is whose blobs it may name.
[[nodiscard]] std::expected<AcceptedJob, Problem> accept_job(const nlohmann::json& request, std::vector<Fault> duplicates,
                                                             const ApiContext& context, const std::string& owner,
                                                             const std::string& traceparent = {});
/// Why its archive cannot be unpacked under its limits; nothing: it can be, or it has none. Blocks, as long as that takes. Any thread.
[[nodiscard]] std::optional<Problem> fault_of_archive(const AcceptedJob& job, const ApiContext& context);
/// A blob that it names was there, and was not any more when the job was stored.
[[nodiscard]] Problem lost_blob();

/// Printable ASCII of a bounded length, as any header value that names something.
[[nodiscard]] bool is_idempotency_key(std::string_view key);
[[nodiscard]] Problem faulty_idempotency_key();
[[nodiscard]] Problem reused_idempotency_key();
[[nodiscard]] Problem full_queue(std::uint64_t bound);
/// Of one that is exhausted.
[[nodiscard]] Problem full_quota(Quota quota);

}  // namespace bailiff::server
