#include "server/api_request.h"

#include <fmt/core.h>

#include <set>

#include "core/json/json.h"
#include "sandbox/tree.h"
#include "server/api_fields.h"
#include "server/blob_content.h"
#include "server/webhook_message.h"

namespace bailiff::server {
namespace {

using nlohmann::json;

constexpr double kMostPoints = 1e9, kMostTolerance = 1e300;
constexpr std::uint64_t kPageBytes = 4096;

class JobDecoder {
 public:
  JobDecoder(const json& body, const RequestRules& rules) : rules_(rules), members_(body, root_, faults_) {}

  std::expected<core::JobSpec, Problem> decode() {
    if (members_.is_object()) {
      read_kind();
      read_program();
      read_common();
      read_tests();
      read_interactive();
      read_webhook();
      if (const json* artifacts = members_.find("artifacts")) read_artifacts(*artifacts, root_.key("artifacts"));
      members_.refuse_others();
      check_workspace();
      if (blob_bytes_ > kMaxJobBlobBytes)
        faults_.add(root_, fmt::format("the blobs of the job have {} bytes; {} are the most", blob_bytes_, kMaxJobBlobBytes));
    }
    if (faults_.empty()) return std::move(spec_);
    return std::unexpected(Problem{422, "the job request has faults; each is listed with its place", faults_.take(), {}});
  }

 private:
  /// `language` or `image` with `steps`, and that the fields of the other kind are absent.
  void read_kind() {
    const json* language = members_.find("language");
    const json* image = members_.find("image");
    const json* steps = members_.find("steps");
    if (language != nullptr && image != nullptr) faults_.add(root_.key("image"), "either language or image may be given, not both");
    if (language == nullptr && image == nullptr)
      faults_.add(root_, "either language (with source or files) or image (with steps) must be given");
    if (language != nullptr) read_language(*language);
    if (image != nullptr) read_image(*image);
    if (steps != nullptr && language != nullptr) faults_.add(root_.key("steps"), "steps go with image; a language has steps of its own");
    if (steps != nullptr) read_steps(*steps, root_.key("steps"));
    if (image != nullptr && language == nullptr) {
      if (steps == nullptr) faults_.add(root_.key("steps"), "must be given with image");
      for (const char* field : {"source", "args", "stdin", "tests", "checker", "stop_on_failure"})
        if (members_.find(field) != nullptr) faults_.add(root_.key(field), "goes with language, not with image");
    }
  }

  void read_language(const json& value) {
    const Path at = root_.key("language");
    const auto name = read_name(value, at, faults_);
    if (!name) return;
    language_ = rules_.catalogue.find_language(*name);
    if (language_ == nullptr) faults_.add(at, fmt::format("unknown language {}; GET /v1/languages tells which are offered", shown(value)));
    else spec_.language = language_->name;
  }

  void read_image(const json& value) {
    const Path at = root_.key("image");
    const auto name = read_name(value, at, faults_);
    if (!name) return;
    if (rules_.catalogue.find_image(*name) == nullptr)
      faults_.add(at, fmt::format("unknown image {}; GET /v1/images tells which are offered", shown(value)));
    else spec_.image = *name;
  }

  void read_steps(const json& value, const Path& at) {
    if (!check_list(value, kMaxSteps, at, faults_)) return;
    if (value.empty()) faults_.add(at, "must have at least one step");
    for (std::size_t i = 0; i < value.size(); ++i) read_step(value[i], i, at.item(i));
  }

  void read_step(const json& value, std::size_t index, const Path& at) {
    core::StepSpec step;
    step.name = std::to_string(index + 1);
    Members members(value, at, faults_);
    if (const json* name = members.find("name")) step.name = read_name(*name, at.key("name"), faults_).value_or("");
    const json* command = members.find("command");
    if (command != nullptr) step.command = read_command(*command, at.key("command"));
    else if (members.is_object()) faults_.add(at.key("command"), "must be given");
    if (const json* env = members.find("env")) step.env = read_environment(*env, at.key("env"), faults_);
    if (const json* cwd = members.find("cwd")) step.cwd = read_directory(*cwd, at.key("cwd"));
    if (const json* content = members.find("stdin")) step.stdin_content = content_of(*content, at.key("stdin")).value_or(core::Content{});
    if (const json* limits = members.find("limits")) step.limits = limits_of(*limits, at.key("limits"));
    if (const json* always = members.find("always")) step.always = read_bool(*always, at.key("always"), faults_).value_or(false);
    members.refuse_others();
    spec_.steps.push_back(std::move(step));
  }

  std::optional<core::Content> content_of(const json& value, const Path& at) {
    auto content = read_content(value, at, faults_);
    if (!content || !content->blob || !rules_.blob_bytes) return content;
    const auto bytes = rules_.blob_bytes(*content->blob);
    if (!bytes) faults_.add(at.key("blob"), "there is no such blob; POST /v1/blobs brings it");
    blob_bytes_ += bytes.value_or(0);
    blob_sizes_[*content->blob] = bytes.value_or(0);
    return content;
  }

  void read_artifacts(const json& value, const Path& at) {
    if (!check_list(value, kMaxArtifactGlobs, at, faults_)) return;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const auto glob = read_string(value[i], kMaxNameBytes, at.item(i), faults_);
      if (!glob) continue;
      if (!sandbox::is_safe_relative_path(*glob))
        faults_.add(at.item(i), R"(must be a glob inside the workspace: relative, without "." and "..")");
      spec_.artifacts.push_back(*glob);
    }
    if (!spec_.artifacts.empty() && !spec_.tests.empty()) faults_.add(at, "tests have workspaces of their own, of which nothing is kept");
  }

  core::LimitOverrides limits_of(const json& value, const Path& at) {
    const auto limits = read_limits(value, rules_.ceiling, at, faults_);
    for (std::size_t i = 0; i < core::kLimitCount && !rules_.can_cap_io; ++i)
      if (const auto& field = core::kLimitFields[i]; std::string_view(field.name).starts_with("io_") && limits.values[i].value_or(0) != 0)
        faults_.add(at.key(field.name), "this server's host cannot cap I/O (cgroup.blkio of GET /v1/system)");
    return limits;
  }

  std::vector<std::string> read_command(const json& value, const Path& at) {
    if (!value.is_string() && !value.is_array()) {
      faults_.add(at, fmt::format("must be a string or a list of strings, not {}", shown(value)));
      return {};
    }
    if (value.is_string()) {
      auto text = read_string(value, kMaxStringBytes, at, faults_);
      if (text && text->empty()) faults_.add(at, "must not be empty");
      return {"/bin/sh", "-c", std::move(text).value_or("")};
    }
    auto command = read_arguments(value, at, faults_);
    if (value.empty()) faults_.add(at, "must not be empty");
    if (!command.empty() && value[0].is_string() && command[0].empty()) faults_.add(at.item(0), "must not be empty");
    return command;
  }

  std::string read_directory(const json& value, const Path& at) {
    const auto path = read_string(value, kMaxStringBytes, at, faults_);
    if (!path || path->empty()) return {};
    if (!sandbox::is_safe_relative_path(*path)) faults_.add(at, R"(must be a path inside the workspace: relative, without "." and "..")");
    return *path;
  }

  /// `source` and `files`.
  void read_program() {
    const json* source = members_.find("source");
    const json* files = members_.find("files");
    if (const json* archive = members_.find("archive"); archive != nullptr && !archive->is_null())
      spec_.archive = content_of(*archive, root_.key("archive"));
    if (source != nullptr) spec_.source = content_of(*source, root_.key("source"));
    if (files != nullptr) read_files(*files, root_.key("files"));
    if (members_.find("language") == nullptr) return;
    if (source == nullptr && files == nullptr && !spec_.archive)
      faults_.add(root_.key("source"), "source, files or an archive must be given with language");
    if (language_ == nullptr) return;
    const auto& main_file = language_->source_file;
    if (source != nullptr) {
      if (spec_.files.contains(main_file))
        faults_.add(root_.key("files").key(main_file), "is the file that source is written to; give one of the two");
      note_directories(main_file, root_.key("source"));
    } else if (files != nullptr && files->is_object() && !files->contains(main_file) && !spec_.archive) {
      faults_.add(root_.key("files"), fmt::format("must have \"{}\", the file that {} starts from", main_file, language_->name));
    }
  }

  void read_files(const json& value, const Path& at) {
    if (!value.is_object()) {
      faults_.add(at, fmt::format("must be an object of path and content, not {}", shown(value)));
      return;
    }
    if (value.size() > kMaxFiles) {
      faults_.add(at, fmt::format("has {} files; at most {} are allowed", value.size(), kMaxFiles));
      return;
    }
    for (const auto& [name, content] : value.items()) {
      const Path place = at.key(name);
      auto bytes = content_of(content, place);
      if (!sandbox::is_safe_relative_path(name)) {
        faults_.add(place, R"(a file's path is relative, without empty, "." and ".." components, at most 255 bytes each)");
        continue;
      }
      spec_.files.emplace(name, std::move(bytes).value_or(core::Content{}));
    }
    for (const auto& [name, content] : spec_.files) note_directories(name, at.key(name));
  }

  /// A path cannot be a file and the directory of another file.
  void note_directories(std::string_view name, const Path& at) {
    for (auto slash = name.find('/'); slash != std::string_view::npos; slash = name.find('/', slash + 1)) {
      const std::string parent(name.substr(0, slash));
      if (spec_.files.contains(parent)) faults_.add(at, fmt::format("lies in {}, which is a file", shown(json(parent))));
      directories_.insert(parent);
    }
  }

  void read_common() {
    const Path args = root_.key("args"), content = root_.key("stdin"), limits = root_.key("limits");
    if (const json* value = members_.find("args")) spec_.args = read_arguments(*value, args, faults_);
    if (const json* value = members_.find("stdin")) spec_.stdin_content = content_of(*value, content).value_or(core::Content{});
    if (const json* value = members_.find("env")) spec_.env = read_environment(*value, root_.key("env"), faults_);
    if (const json* value = members_.find("limits")) spec_.limits = limits_of(*value, limits);
    if (const json* value = members_.find("labels")) spec_.labels = read_labels(*value, root_.key("labels"), faults_);
    if (const json* value = members_.find("priority"))
      spec_.priority = static_cast<int>(read_integer(*value, -kMaxPriority, kMaxPriority, root_.key("priority"), faults_).value_or(0));
    if (const json* value = members_.find("network"); value != nullptr && *value != "none")
      faults_.add(root_.key("network"),
                  value->is_string() ? "a network other than \"none\" is not supported by this server" : "must be a string");
  }

  void read_webhook() {
    const json* value = members_.find("webhook");
    if (value == nullptr || value->is_null()) return;
    const Path at = root_.key("webhook");
    core::Webhook webhook;
    Members members(*value, at, faults_);
    const auto take = [&](const char* field, std::size_t most_bytes, std::string& text) {
      const json* member = members.find(field);
      if (member == nullptr && members.is_object()) faults_.add(at.key(field), "must be given");
      if (member == nullptr) return false;
      auto read = read_string(*member, most_bytes, at.key(field), faults_);
      text = read.value_or("");
      return read.has_value();
    };
    const bool has_url = take("url", kMaxWebhookUrlBytes, webhook.url), has_secret = take("secret", kMaxStringBytes, webhook.secret);
    if (has_url)
      if (const auto target = parse_webhook_url(webhook.url, rules_.webhooks); !target) faults_.add(at.key("url"), target.error());
    if (has_secret)
      if (const auto key = webhook_key(webhook.secret); !key) faults_.add(at.key("secret"), key.error());
    members.refuse_others();
    spec_.webhook = std::move(webhook);
  }

  void read_tests() {
    const json* tests = members_.find("tests");
    const json* checker = members_.find("checker");
    const json* stop = members_.find("stop_on_failure");
    if (checker != nullptr) read_checker(*checker, root_.key("checker"));
    if (stop != nullptr) spec_.stop_on_failure = read_bool(*stop, root_.key("stop_on_failure"), faults_).value_or(true);
    const Path at = root_.key("tests");
    if (tests == nullptr || !check_list(*tests, kMaxTests, at, faults_)) return;
    for (std::size_t i = 0; i < tests->size(); ++i) read_test((*tests)[i], i, at.item(i));
    if (!tests->empty() && (!spec_.stdin_content.bytes.empty() || spec_.stdin_content.blob))
      faults_.add(root_.key("stdin"), "each test has a stdin of its own");
  }

  /// false; true, or {"tty": …}: a terminal or none.
  void read_interactive() {
    const json* value = members_.find("interactive");
    if (value == nullptr || *value == false) return;
    const Path at = root_.key("interactive");
    spec_.interactive = core::Interactive::pipe;
    if (value->is_object()) {
      Members members(*value, at, faults_);
      const json* tty = members.find("tty");
      if (tty != nullptr && read_bool(*tty, at.key("tty"), faults_) == true) spec_.interactive = core::Interactive::terminal;
      members.refuse_others();
    } else if (*value != true) {
      faults_.add(at, fmt::format(R"(must be true, false or {{"tty": true}}, not {})", shown(*value)));
    }
    if (!spec_.tests.empty()) faults_.add(at, "tests have a stdin of their own");
    const bool of_steps = !spec_.steps.empty();
    const auto& given = of_steps ? spec_.steps.back().stdin_content : spec_.stdin_content;
    if (given.blob || !given.bytes.empty())
      faults_.add(of_steps ? root_.key("steps").item(spec_.steps.size() - 1).key("stdin") : root_.key("stdin"),
                  "an interactive program reads from who is attached to it");
  }

  void read_test(const json& value, std::size_t index, const Path& at) {
    core::TestSpec test;
    test.name = std::to_string(index + 1);
    Members members(value, at, faults_);
    if (const json* name = members.find("name")) test.name = read_name(*name, at.key("name"), faults_).value_or("");
    if (const json* content = members.find("stdin")) test.stdin_content = content_of(*content, at.key("stdin")).value_or(core::Content{});
    if (const json* expected = members.find("expected")) test.expected = content_of(*expected, at.key("expected"));
    if (const json* limits = members.find("limits")) test.limits = limits_of(*limits, at.key("limits"));
    if (const json* points = members.find("points")) test.points = read_amount(*points, kMostPoints, at.key("points"), faults_).value_or(1);
    members.refuse_others();
    spec_.tests.push_back(std::move(test));
  }

  void read_checker(const json& value, const Path& at) {
    using Kind = core::Checker::Kind;
    if (value == "tokens") return;
    if (value == "lines") spec_.checker.kind = Kind::lines;
    else if (value == "exact") spec_.checker.kind = Kind::exact;
    else if (value.is_object() && value.size() == 1 && value.contains("floats")) read_floats(value["floats"], at);
    else if (value.is_object()) faults_.add(at, R"(a checker program is not supported by this server; {"floats": {…}} is)");
    else faults_.add(at, R"(must be "tokens", "lines", "exact" or {"floats": {"absolute": …, "relative": …}}, not )" + shown(value));
  }

  void read_floats(const json& value, const Path& checker) {
    const Path at = checker.key("floats");
    spec_.checker.kind = core::Checker::Kind::floats;
    Members members(value, at, faults_);
    if (const json* most = members.find("absolute"))
      spec_.checker.absolute = read_amount(*most, kMostTolerance, at.key("absolute"), faults_).value_or(0);
    if (const json* most = members.find("relative"))
      spec_.checker.relative = read_amount(*most, kMostTolerance, at.key("relative"), faults_).value_or(0);
    members.refuse_others();
  }

  /// What is placed in the workspace must fit in it, or the job could never start.
  void check_workspace() {
    core::Limits limits = rules_.default_limits;
    if (language_ != nullptr) limits = core::apply(limits, language_->limits);
    limits = core::at_most(core::apply(limits, spec_.limits), rules_.ceiling);
    const auto on_disk = [&](const core::Content& content) {
      const std::uint64_t size = content.blob ? blob_sizes_[*content.blob] : content.bytes.size();
      return (size + kPageBytes - 1) / kPageBytes * kPageBytes;
    };
    std::uint64_t bytes = spec_.source ? on_disk(*spec_.source) : 0;
    for (const auto& [name, content] : spec_.files) bytes += on_disk(content);
    const std::uint64_t inodes = 1 + directories_.size() + spec_.files.size() + (spec_.source ? 1 : 0);
    if (bytes > limits.workspace_bytes)
      faults_.add(root_.key(spec_.source ? "source" : "files"),
                  fmt::format("the files take {} bytes, workspace_bytes is {}", bytes, limits.workspace_bytes));
    if (inodes > limits.workspace_inodes)
      faults_.add(root_.key("files"), fmt::format("the files take {} inodes, workspace_inodes is {}", inodes, limits.workspace_inodes));
  }

  const RequestRules& rules_;
  Path root_;
  Faults faults_;
  Members members_;
  core::JobSpec spec_;
  const images::Language* language_ = nullptr;
  std::set<std::string> directories_;
  std::map<std::string, std::uint64_t> blob_sizes_;
  std::uint64_t blob_bytes_ = 0;  // of all that the job names, each time
};

}  // namespace

std::expected<core::JobSpec, Problem> decode_job(const json& body, const RequestRules& rules) { return JobDecoder(body, rules).decode(); }

}  // namespace bailiff::server
