#pragma once
// Samples and what is told of them.
#include <string>
#include <vector>

namespace bailiff::bench {

/// Of at least one sample, in the samples' unit. Percentiles by nearest rank.
struct Distribution {
  explicit Distribution(std::vector<double> samples);
  [[nodiscard]] double percentile(double share) const;
  [[nodiscard]] double min() const { return sorted_.front(); }
  [[nodiscard]] double median() const { return percentile(0.5); }
  [[nodiscard]] double p99() const { return percentile(0.99); }
  [[nodiscard]] double max() const { return sorted_.back(); }
  [[nodiscard]] double deviation() const;

 private:
  std::vector<double> sorted_;
};

/// "min 1.000  p50 …  p99 …  max …  sd …".
std::string describe(const Distribution& samples);

/// An aligned text table: the first column to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// With so many digits behind the point.
std::string number(double value, int digits);

}  // namespace bailiff::bench
