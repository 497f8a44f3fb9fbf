#include "bench/figures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace bailiff::bench {

Distribution::Distribution(std::vector<double> samples) : sorted_(std::move(samples)) { std::sort(sorted_.begin(), sorted_.end()); }

double Distribution::percentile(double share) const {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted_.size())));
  return sorted_[std::max<std::size_t>(rank, 1) - 1];
}

double Distribution::deviation() const {
  const auto count = static_cast<double>(sorted_.size());
  const double mean = std::accumulate(sorted_.begin(), sorted_.end(), 0.0) / count;
  double squares = 0;
  for (const double sample : sorted_) squares += (sample - mean) * (sample - mean);
  return std::sqrt(squares / count);
}

std::string describe(const Distribution& samples) {
  return "min " + number(samples.min(), 3) + "  p50 " + number(samples.median(), 3) + "  p99 " + number(samples.p99(), 3) + "  max " +
         number(samples.max(), 3) + "  sd " + number(samples.deviation(), 3);
}

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths.resize(std::max(widths.size(), column + 1));
      widths[column] = std::max(widths[column], row[column].size());
    }
  for (const auto& row : rows_) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      const int width = static_cast<int>(widths[column]);
      std::printf(column == 0 ? "%-*s" : "  %*s", width, row[column].c_str());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

std::string number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

}  // namespace bailiff::bench
