#include "cli/render.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>

namespace bailiff::cli {
namespace {

using core::Json;

constexpr std::size_t kMaxShownOutputBytes = 64 * core::kKiB;

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text(const Json& object, const char* key) {
  const Json& value = member(object, key);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());  // 2, where JSON says 2.0
  return value.is_null() ? "" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

double number(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number() ? value.get<double>() : 0;
}

std::size_t code_points(std::string_view valid_utf8) {
  return static_cast<std::size_t>(
      std::ranges::count_if(valid_utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

/// Exit code or signal, where the message beside it does not tell them in words.
std::string cause(const Json& step) {
  if (!text(step, "message").empty()) return "";
  if (const Json& signal = member(step, "signal"); signal.is_number_integer()) {
    const char* abbreviation = ::sigabbrev_np(signal.get<int>());
    return abbreviation == nullptr ? fmt::format(" (signal {})", signal.get<int>())
                                   : fmt::format(" (signal {} SIG{})", signal.get<int>(), abbreviation);
  }
  if (const Json& code = member(step, "exit_code"); code.is_number_integer() && code.get<int>() != 0)
    return fmt::format(" (exit code {})", code.get<int>());
  return "";
}

std::string figures(double cpu_ms, double wall_ms, double memory_bytes) {
  return fmt::format("cpu {}, wall {}, memory {}", duration_text(cpu_ms), duration_text(wall_ms), size_text(memory_bytes));
}

/// The first step that is not ok, else the last one; null where there is none.
const Json& deciding_step(const Json& job) {
  static const Json kNull;
  const Json& steps = member(job, "steps");
  if (!steps.is_array() || steps.empty()) return kNull;
  const auto failed = std::ranges::find_if(steps, [](const Json& step) { return text(step, "verdict") != "ok"; });
  return failed == steps.end() ? steps.back() : *failed;
}

std::string tests_summary(const Json& tests) {
  double cpu = 0, wall = 0, memory = 0;
  std::size_t accepted = 0;
  for (const Json& test : tests) {
    cpu = std::max(cpu, number(test, "cpu_time_ms"));
    wall = std::max(wall, number(test, "wall_time_ms"));
    memory = std::max(memory, number(test, "memory_peak_bytes"));
    accepted += text(test, "verdict") == "accepted" ? 1 : 0;
  }
  return fmt::format("{} of {} tests accepted, at most {}", accepted, tests.size(), figures(cpu, wall, memory));
}

void add_outputs(std::string& page, const Json& part, const char* kind, const Paint& paint) {
  for (const char* stream : {"stdout", "stderr"}) {
    const std::string bytes = content_bytes(member(part, stream));
    if (bytes.empty()) continue;
    const bool cut = member(part, fmt::format("{}_truncated", stream).c_str()) == true;
    const std::string title = fmt::format("--- {} {}: {}, {} bytes{}", kind, sanitise_line(text(part, "name")), stream, bytes.size(),
                                          cut ? ", cut at the output limit" : "");
    page += paint(Colour::dim, title) + "\n";
    page += sanitise(std::string_view(bytes).substr(0, kMaxShownOutputBytes));
    if (page.back() != '\n') page += '\n';
    if (bytes.size() > kMaxShownOutputBytes) page += paint(Colour::dim, "--- the rest is not shown; --json has all of it") + "\n";
  }
}

void add_parts(std::string& page, const Json& parts, const char* kind, const Paint& paint) {
  if (!parts.is_array() || parts.empty()) return;
  Table table;
  table.add({{kind, Colour::dim},
             {"verdict", Colour::dim},
             {"cpu", Colour::dim},
             {"wall", Colour::dim},
             {"memory", Colour::dim},
             {"message", Colour::dim}});
  for (const Json& part : parts) {
    const std::string verdict = text(part, "verdict"), message = text(part, "message"), checker = text(part, "checker_message");
    table.add({{text(part, "name")},
               {verdict + cause(part), verdict_colour(verdict)},
               {duration_text(number(part, "cpu_time_ms"))},
               {duration_text(number(part, "wall_time_ms"))},
               {size_text(number(part, "memory_peak_bytes"))},
               {message.empty() ? checker : message}});
  }
  page += "\n" + table.render(paint);
}

std::string labels_text(const Json& labels) {
  std::vector<std::string> pairs;
  if (labels.is_object())
    for (const auto& [key, value] : labels.items()) pairs.push_back(key + "=" + text(labels, key.c_str()));
  return fmt::format("{}", fmt::join(pairs, " "));
}

/// "running (paused)".
std::string state_text(const Json& job) { return text(job, "state") + (member(job, "paused") == true ? " (paused)" : ""); }

}  // namespace

std::string duration_text(double milliseconds) {
  if (milliseconds < 10) return fmt::format("{:.2f} ms", milliseconds);
  if (milliseconds < 1000) return fmt::format("{:.1f} ms", milliseconds);
  return fmt::format("{:.2f} s", milliseconds / 1000);
}

std::string size_text(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1048576) return fmt::format("{:.1f} KiB", bytes / 1024);
  if (bytes < 1073741824) return fmt::format("{:.1f} MiB", bytes / 1048576);
  return fmt::format("{:.2f} GiB", bytes / 1073741824);
}

Colour verdict_colour(std::string_view verdict) {
  if (verdict == "ok" || verdict == "accepted") return Colour::green;
  if (verdict.empty() || verdict == "cancelled") return Colour::none;
  return verdict.ends_with("_limit_exceeded") ? Colour::yellow : Colour::red;
}

std::string content_bytes(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  const Json& encoded = member(content, "base64");
  return encoded.is_string() ? core::base64_decode(encoded.get<std::string>()).value_or("") : "";
}

core::Verdict verdict_of(const Json& job) { return core::verdict_from_name(text(job, "verdict")).value_or(core::Verdict::internal_error); }

std::string summary(const Json& job, const Paint& paint) {
  const std::string verdict = text(job, "verdict");
  if (verdict.empty()) return fmt::format("{} is {}", sanitise_line(text(job, "id")), sanitise_line(state_text(job)));
  const Json &step = deciding_step(job), &tests = member(job, "tests");
  const bool has_tests = tests.is_array() && !tests.empty();
  std::string line = paint(verdict_colour(verdict), sanitise_line(verdict)) + (has_tests ? "" : cause(step));
  if (has_tests) {
    line += fmt::format(", score {}, {}", sanitise_line(text(job, "score")), tests_summary(tests));
  } else if (step.is_object()) {
    line += ", " + figures(number(step, "cpu_time_ms"), number(step, "wall_time_ms"), number(step, "memory_peak_bytes"));
    for (const char* stream : {"stdout", "stderr"})
      if (member(step, fmt::format("{}_truncated", stream).c_str()) == true) line += fmt::format(", {} cut at the output limit", stream);
  }
  const std::string message = text(job, "message").empty() ? text(step, "message") : text(job, "message");
  if (!message.empty()) line += ": " + sanitise_line(message);
  return line;
}

std::string render_job(const Json& job, const Paint& paint) {
  Table head;
  const std::string verdict = text(job, "verdict");
  const auto add = [&](const char* name, std::string value, Colour colour = Colour::none) {
    if (!value.empty()) head.add({{name, Colour::dim}, {std::move(value), colour}});
  };
  add("job", text(job, "id"), Colour::bold);
  add("state", state_text(job));
  add("verdict", verdict, verdict_colour(verdict));
  add("message", text(job, "message"));
  add("score", text(job, "score"));
  add("language", text(job, "language"));
  add("image", text(job, "image") + (text(job, "image_digest").empty() ? "" : " " + text(job, "image_digest")));
  add("created", text(job, "created_at"));
  add("started", text(job, "started_at"));
  add("finished", text(job, "finished_at"));
  add("attempt", text(job, "attempt"));
  if (number(job, "priority") != 0) add("priority", text(job, "priority"));
  add("labels", labels_text(member(job, "labels")));
  std::string page = head.render(paint);
  add_parts(page, member(job, "steps"), "step", paint);
  add_parts(page, member(job, "tests"), "test", paint);
  for (const auto& [key, kind] : {std::pair("steps", "step"), std::pair("tests", "test")})
    if (member(job, key).is_array())
      for (const Json& part : member(job, key)) add_outputs(page, part, kind, paint);
  return page;
}

std::string render_jobs(const std::vector<Json>& jobs, const Paint& paint) {
  if (jobs.empty()) return "no jobs\n";
  Table table;
  table.add({{"job", Colour::dim},
             {"state", Colour::dim},
             {"verdict", Colour::dim},
             {"language", Colour::dim},
             {"created", Colour::dim},
             {"labels", Colour::dim}});
  for (const Json& job : jobs) {
    const std::string verdict = text(job, "verdict");
    table.add({{text(job, "id")},
               {state_text(job)},
               {verdict, verdict_colour(verdict)},
               {text(job, "language")},
               {text(job, "created_at")},
               {labels_text(member(job, "labels"))}});
  }
  return table.render(paint);
}

std::string render_languages(const Json& items, const Paint& paint) {
  Table table;
  table.add({{"language", Colour::dim}, {"aliases", Colour::dim}, {"image", Colour::dim}, {"version", Colour::dim}});
  for (const Json& language : items) {
    std::vector<std::string> aliases;
    if (const Json& list = member(language, "aliases"); list.is_array())
      for (const Json& alias : list)
        if (alias.is_string()) aliases.push_back(alias.get<std::string>());
    table.add({{text(language, "name"), Colour::bold},
               {fmt::format("{}", fmt::join(aliases, " "))},
               {text(language, "image")},
               {text(language, "version")}});
  }
  return table.render(paint);
}

std::string render_sandbox(const Json& sandbox, const Paint& paint) {
  const auto integer = [](const Json& object, const char* key) {
    const Json& value = member(object, key);
    return value.is_number_integer() ? value.dump() : std::string("-");
  };
  const auto rows = [&](const char* key, std::vector<Table::Cell> head, const auto& row) {
    Table table;
    table.add(std::move(head));
    if (const Json& items = member(sandbox, key); items.is_array())
      for (const Json& item : items) table.add(row(item));
    return table.render(paint);
  };
  const bool is_test = member(sandbox, "test").is_object();
  const Json& part = member(sandbox, is_test ? "test" : "step");
  std::string page = fmt::format("job {}, {} {} \"{}\" in slot {}: {}, {} processes and threads\n", sanitise_line(text(sandbox, "job")),
                                 is_test ? "test" : "step", integer(part, "index"), sanitise_line(text(part, "name")),
                                 integer(sandbox, "slot"), size_text(number(sandbox, "memory_bytes")), integer(sandbox, "processes_now"));
  constexpr auto kDim = Colour::dim;
  page += "\n" + rows("namespaces", {{"namespace", kDim}, {"inode", kDim}, {"owner uid", kDim}, {"owner", kDim}, {"parent", kDim}},
                      [&](const Json& one) -> std::vector<Table::Cell> {
                        return {{text(one, "type")},
                                {integer(one, "inode")},
                                {integer(one, "owner_uid")},
                                {integer(one, "owner")},
                                {integer(one, "parent")}};
                      });
  page += "\n" + rows("cgroups", {{"controllers", kDim}, {"cgroup", kDim}}, [&](const Json& group) -> std::vector<Table::Cell> {
            std::vector<std::string> names;
            if (const Json& list = member(group, "controllers"); list.is_array())
              for (const Json& name : list)
                if (name.is_string()) names.push_back(name.get<std::string>());
            return {{names.empty() ? "(v2)" : fmt::format("{}", fmt::join(names, ","))}, {text(group, "path")}};
          });
  page +=
      "\n" + rows("processes", {{"pid", kDim}, {"host pid", kDim}, {"name", kDim}}, [&](const Json& process) -> std::vector<Table::Cell> {
        return {{integer(process, "pid")}, {integer(process, "host_pid")}, {text(process, "name")}};
      });
  if (member(sandbox, "processes_truncated") == true) page += paint(Colour::dim, "--- there are more processes") + "\n";
  return page;
}

std::string render_failure(const Failure& failure, const Paint& paint) {
  std::string page = fmt::format("{} {}\n", paint(Colour::red, "bailiff:"), sanitise_line(failure.what));
  if (const Json& errors = member(failure.problem, "errors"); errors.is_array())
    for (const Json& error : errors)
      page += fmt::format("  {}: {}\n", sanitise_line(text(error, "pointer")), sanitise_line(text(error, "detail")));
  if (!failure.next.empty()) page += fmt::format("  {}\n", sanitise_line(failure.next));
  return page;
}

std::string Table::render(const Paint& paint) const {
  std::vector<std::size_t> widths;
  std::vector<std::vector<std::string>> texts;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    texts.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      texts.back().push_back(sanitise_line(row[i].text));
      widths[i] = std::max(widths[i], code_points(texts.back()[i]));
    }
  }
  std::string page;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::string line, gap;
    for (std::size_t i = 0; i < rows_[r].size(); ++i) {
      // The gap before an empty cell is only written when something follows it, so that no line ends in blanks.
      if (!texts[r][i].empty()) line += gap + paint(rows_[r][i].colour, texts[r][i]), gap.clear();
      gap.append(widths[i] - code_points(texts[r][i]) + 2, ' ');
    }
    page += line + "\n";
  }
  return page;
}

}  // namespace bailiff::cli
