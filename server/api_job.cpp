#include "server/api_job.h"

#include <limits>
#include <utility>

#include "server/http_fields.h"

namespace bailiff::server {
namespace {

using core::Json;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(core::to_utf8(text)); }
Json time_or_null(const std::optional<std::int64_t>& time_us) { return time_us ? Json(core::iso8601_utc(*time_us)) : Json(nullptr); }

/// A step or test without its bytes; their sizes instead.
template <class Part>
Json part_to_json(const Part& part) {
  Json object = {{"name", core::to_utf8(part.name)}};
  core::put_outcome(object, part.outcome);
  object["stdout_bytes"] = part.stdout_bytes.size();
  object["stderr_bytes"] = part.stderr_bytes.size();
  return object;
}

void move_outputs(std::vector<storage::Output>& outputs, int index, std::string& out, std::string& err) {
  if (!out.empty()) outputs.push_back({index, storage::Stream::stdout_stream, std::move(out)});
  if (!err.empty()) outputs.push_back({index, storage::Stream::stderr_stream, std::move(err)});
}

/// Stops at "request": the head of a stored request is what answers show, and the rest may be megabytes.
class HeadReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool string(string_t& text) override {
    head_[key_] = std::move(text);
    return true;
  }
  bool key(string_t& text) override {
    key_ = std::move(text);
    return key_ != "request";
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }
  [[nodiscard]] Json field(const char* name) const {
    const auto found = head_.find(name);
    return found == head_.end() ? Json(nullptr) : Json(found->second);
  }

 private:
  std::string key_;
  std::map<std::string, std::string> head_;
};

Json head_field(const std::string& request, const char* name) {
  HeadReader head;
  nlohmann::json::sax_parse(request, &head);
  return head.field(name);
}

/// Puts the streams of one step or test in the place of their sizes.
class OutputInserter {
 public:
  OutputInserter(const std::string& id, storage::Store& store, const OutputPolicy& policy)
      : id_(id), store_(store), policy_(policy), left_bytes_(policy.inline_bytes) {}

  core::Status insert(Json& part, int index) {
    if (auto done = insert_stream(part, index, "stdout", storage::Stream::stdout_stream); !done) return done;
    return insert_stream(part, index, "stderr", storage::Stream::stderr_stream);
  }

 private:
  core::Status insert_stream(Json& part, int index, const std::string& name, storage::Stream stream) {
    const auto size = part.value(name + "_bytes", std::uint64_t{0});
    part.erase(name + "_bytes");
    if (!policy_.with_outputs) return {};
    if (size > left_bytes_) {
      part[name] = nullptr;
      return {};
    }
    left_bytes_ -= size;
    if (size == 0) {
      part[name] = "";
      return {};
    }
    auto slice = store_.output(id_, index, stream, 0, size);
    if (!slice) return std::unexpected(std::move(slice.error()));
    part[name] = core::content_to_json(slice->bytes);
    return {};
  }

  const std::string& id_;
  storage::Store& store_;
  const OutputPolicy& policy_;
  std::uint64_t left_bytes_;
};

/// The result document; steps and tests empty where the job has none yet.
Json read_result(const storage::StoredJob& job) {
  Json result = Json::parse(job.result, nullptr, false);
  if (!result.is_object()) result = Json::object();
  for (const char* list : {"steps", "tests", "artifacts"})
    if (!result.contains(list) || !result[list].is_array()) result[list] = Json::array();
  for (auto& step : result["steps"]) step.erase("samples");
  if (!result.contains("score")) result["score"] = nullptr;
  return result;
}

}  // namespace

std::string result_to_json(const core::JobResult& result) {
  Json object = {{"steps", Json::array()}, {"tests", Json::array()}, {"score", nullptr}};
  for (const auto& step : result.steps) {
    Json part = part_to_json(step);
    if (!step.outcome.samples.empty()) part["samples"] = samples_to_json(step.outcome.samples);
    object["steps"].push_back(std::move(part));
  }
  for (const auto& test : result.tests) {
    Json part = part_to_json(test);
    part["points"] = test.points;
    part["checker_message"] = text_or_null(test.checker_message);
    object["tests"].push_back(std::move(part));
  }
  if (result.score) object["score"] = *result.score;
  for (const auto& artifact : result.artifacts)
    object["artifacts"].push_back({{"path", artifact.path}, {"bytes", artifact.bytes.size()}, {"digest", sha256_digest(artifact.bytes)}});
  if (result.artifacts_truncated) object["artifacts_truncated"] = true;
  return object.dump();
}

void put_result(storage::Finish& finish, core::JobResult result) {
  finish.verdict = result.verdict;
  finish.message = result.message;
  finish.result = result_to_json(result);
  int step_index = 0, test_index = storage::kFirstTest;
  for (auto& step : result.steps) move_outputs(finish.outputs, step_index++, step.stdout_bytes, step.stderr_bytes);
  for (auto& test : result.tests) move_outputs(finish.outputs, test_index++, test.stdout_bytes, test.stderr_bytes);
  for (auto& artifact : result.artifacts) finish.artifacts.push_back({std::move(artifact.path), std::move(artifact.bytes)});
}

core::Result<Json> compose_job(const storage::StoredJob& job, storage::Store& store, const OutputPolicy& policy, bool paused) {
  HeadReader head;
  nlohmann::json::sax_parse(job.request, &head);
  Json object = {{"id", job.id},
                 {"state", core::name(job.state)},
                 {"paused", paused && job.state == core::JobState::running},
                 {"verdict", job.verdict ? Json(core::name(*job.verdict)) : Json(nullptr)},
                 {"message", text_or_null(job.message)},
                 {"created_at", core::iso8601_utc(job.created_us)},
                 {"started_at", time_or_null(job.started_us)},
                 {"finished_at", time_or_null(job.finished_us)},
                 {"attempt", job.attempt},
                 {"language", head.field("language")},
                 {"language_version", head.field("language_version")},
                 {"image", head.field("image")},
                 {"image_digest", head.field("image_digest")},
                 {"labels", Json::object()},
                 {"priority", job.priority},
                 {"traceparent", head.field("traceparent")},
                 {"owner", job.owner.empty() ? Json(nullptr) : Json(job.owner)}};
  for (const auto& [key, value] : job.labels) object["labels"][key] = value;
  Json result = read_result(job);
  OutputInserter outputs(job.id, store, policy);
  int step_index = 0, test_index = storage::kFirstTest;
  for (auto& step : result["steps"])
    if (auto done = outputs.insert(step, step_index++); !done) return std::unexpected(std::move(done.error()));
  for (auto& test : result["tests"])
    if (auto done = outputs.insert(test, test_index++); !done) return std::unexpected(std::move(done.error()));
  object["steps"] = std::move(result["steps"]);
  object["tests"] = std::move(result["tests"]);
  object["score"] = std::move(result["score"]);
  object["artifacts"] = std::move(result["artifacts"]);
  object["artifacts_truncated"] = result.value("artifacts_truncated", false);
  return object;
}

Json samples_to_json(const std::vector<core::UsageSample>& samples) {
  Json list = Json::array();
  for (const auto& one : samples)
    list.push_back({{"wall_time_ms", static_cast<double>(one.wall_us) / 1000},
                    {"cpu_time_ms", static_cast<double>(one.cpu_us) / 1000},
                    {"memory_bytes", one.memory_bytes},
                    {"processes", one.processes}});
  return list;
}

Json stored_samples(const storage::StoredJob& job, std::size_t step) {
  const Json result = Json::parse(job.result, nullptr, false);
  if (!result.is_object() || !result.contains("steps") || step >= result["steps"].size()) return nullptr;
  return result["steps"][step].value("samples", Json::array());
}

std::string stored_traceparent(const std::string& request) {
  const Json value = head_field(request, "traceparent");
  return value.is_string() ? value.get<std::string>() : "";
}

core::Interactive interactive_of(const storage::StoredJob& job) {
  const Json kind = head_field(job.request, "interactive");
  return kind == "terminal" ? core::Interactive::terminal : kind == "pipe" ? core::Interactive::pipe : core::Interactive::no;
}

Json artifacts_of(const storage::StoredJob& job) { return read_result(job)["artifacts"]; }

std::optional<std::uint64_t> stored_output_bytes(const storage::StoredJob& job, int index, storage::Stream stream) {
  const Json result = read_result(job);
  const bool is_test = index >= storage::kFirstTest;
  const auto& parts = result[is_test ? "tests" : "steps"];
  const auto position = static_cast<std::size_t>(is_test ? index - storage::kFirstTest : index);
  if (position >= parts.size()) return std::nullopt;
  return parts[position].value(stream == storage::Stream::stdout_stream ? "stdout_bytes" : "stderr_bytes", std::uint64_t{0});
}

std::uint64_t result_weight_bytes(const storage::StoredJob& job) {
  std::uint64_t bytes = job.result.size();
  const Json result = read_result(job);
  for (const char* list : {"steps", "tests"})
    for (const auto& part : result[list])
      bytes += part.value("stdout_bytes", std::uint64_t{0}) + part.value("stderr_bytes", std::uint64_t{0});
  return bytes;
}

}  // namespace bailiff::server
