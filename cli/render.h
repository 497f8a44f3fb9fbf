#pragma once
// The API's JSON documents as text for people. Every string in them is taken as hostile and sanitised. Pure functions.
#include <string>
#include <string_view>
#include <vector>

#include "cli/failure.h"
#include "cli/terminal.h"
#include "core/json/json.h"

namespace bailiff::cli {

/// "12.4 ms", "1.23 s"; "3.4 MiB".
[[nodiscard]] std::string duration_text(double milliseconds);
[[nodiscard]] std::string size_text(double bytes);

/// One line (without its end) about a job document: verdict, why, and the figures of the step that decided it or the extremes of the tests.
[[nodiscard]] std::string summary(const core::Json& job, const Paint& paint);
/// All about a job, its outputs included.
[[nodiscard]] std::string render_job(const core::Json& job, const Paint& paint);
[[nodiscard]] std::string render_jobs(const std::vector<core::Json>& jobs, const Paint& paint);
[[nodiscard]] std::string render_languages(const core::Json& items, const Paint& paint);
/// A running job's sandbox: its namespaces, cgroups and processes.
[[nodiscard]] std::string render_sandbox(const core::Json& sandbox, const Paint& paint);
/// "bailiff: what" and lines for each pointer of a problem document and for what to do next.
[[nodiscard]] std::string render_failure(const Failure& failure, const Paint& paint);

/// The bytes of a Content in an answer (string or {"base64": …}); empty for anything else.
[[nodiscard]] std::string content_bytes(const core::Json& content);
/// The verdict of a finished job; internal_error where it has none that we know.
[[nodiscard]] core::Verdict verdict_of(const core::Json& job);

/// Columns as wide as their widest cell, two spaces apart. Cells are sanitised lines; the last column is not padded.
class Table {
 public:
  struct Cell {
    std::string text;
    Colour colour = Colour::none;
  };
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string render(const Paint& paint) const;

 private:
  std::vector<std::vector<Cell>> rows_;
};
[[nodiscard]] Colour verdict_colour(std::string_view verdict);

}  // namespace bailiff::cli
