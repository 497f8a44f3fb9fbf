#pragma once
// A job as clients see it (api.md, "A job"): what a runner's result is stored as, and how it is composed with the outputs.
#include <cstdint>
#include <string>

#include "core/job.h"
#include "core/json/json.h"
#include "core/result.h"
#include "storage/store.h"

namespace bailiff::server {

/// The result document without output bytes: {"steps": [{…, "stdout_bytes": 5, …}], "tests": […], "score": 1}.
[[nodiscard]] std::string result_to_json(const core::JobResult& result);
/// Fills verdict, message, result and outputs of `finish` (empty outputs are not stored). The other members are the caller's.
void put_result(storage::Finish& finish, core::JobResult result);

/// How much output a composed job carries: none (lists; then stdout and stderr are left out) or up to a bound (what is over is null).
struct OutputPolicy {
  bool with_outputs = true;
  std::uint64_t inline_bytes = 32 * core::kMiB;
};
/// The job document. Reads outputs from `store` (any thread).
[[nodiscard]] core::Result<core::Json> compose_job(const storage::StoredJob& job, storage::Store& store, const OutputPolicy& policy,
                                                   bool paused = false);

/// The trace that it belongs to; empty: none. Of NewJob::request.
[[nodiscard]] std::string stored_traceparent(const std::string& request);
/// As its request said.
[[nodiscard]] core::Interactive interactive_of(const storage::StoredJob& job);

/// A step's use over time, as clients see it: [{"wall_time_ms", "cpu_time_ms", "memory_bytes", "processes"}].
[[nodiscard]] core::Json samples_to_json(const std::vector<core::UsageSample>& samples);
/// The same of a step of a finished job; null where it has no such step.
[[nodiscard]] core::Json stored_samples(const storage::StoredJob& job, std::size_t step);

/// What it left: [{"path", "bytes", "digest"}]; empty until it is finished.
[[nodiscard]] core::Json artifacts_of(const storage::StoredJob& job);

/// Size of one output of a finished job by its result document; nothing where there is no such step or test.
[[nodiscard]] std::optional<std::uint64_t> stored_output_bytes(const storage::StoredJob& job, int index, storage::Stream stream);

/// Bytes of results and outputs that composing this job would read: what decides whether it is done aside.
[[nodiscard]] std::uint64_t result_weight_bytes(const storage::StoredJob& job);

}  // namespace bailiff::server
