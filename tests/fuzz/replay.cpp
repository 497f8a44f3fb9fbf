// Runs a target over its seeds and changes of them, the same ones each time. `--seeds DIRECTORY` writes the seeds for libFuzzer instead.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/fuzz/fuzz.h"

namespace {

constexpr std::size_t kMostBytes = 64 * 1024;
constexpr unsigned kMostChanges = 8;

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t bound) { return bound == 0 ? 0 : static_cast<std::size_t>(random() % bound); }

/// One of the changes that break parsers: a bit, a byte of note, a piece gone, doubled, or come from another input.
void change(std::string& input, const std::vector<std::string>& all, Random& random) {
  constexpr char kNotable[] = {'\0', '\x7f', '\xff', '"', '{', '[', '/', '.', '%', '\\', '-', '9', ',', ':', '=', '\n'};
  const std::size_t at = below(random, input.size() + 1),
                    length = below(random, std::min<std::size_t>(input.size() - std::min(at, input.size()), 64) + 1);
  switch (random() % 6) {
    case 0:
      if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << random() % 8));
      break;
    case 1:
      if (at < input.size()) input[at] = kNotable[below(random, sizeof kNotable)];
      break;
    case 2: input.insert(at, 1, kNotable[below(random, sizeof kNotable)]); break;
    case 3: input.erase(at, length); break;
    case 4: input.insert(at, input.substr(at, length)); break;
    default: {
      const auto& other = all[below(random, all.size())];
      const std::size_t from = below(random, other.size() + 1);
      input.insert(at, other.substr(from, below(random, 128)));
    }
  }
  if (input.size() > kMostBytes) input.resize(kMostBytes);
}

void run(const std::string& input) { (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size()); }

}  // namespace

int main(int argc, char** argv) {
  const auto seeds = bailiff::fuzz::seeds();
  if (argc == 3 && std::string(argv[1]) == "--seeds") {
    for (std::size_t i = 0; i < seeds.size(); ++i)
      std::ofstream(std::filesystem::path(argv[2]) / ("seed-" + std::to_string(i)), std::ios::binary) << seeds[i];
    return 0;
  }
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s RUNS | --seeds DIRECTORY\n", argv[0]);
    return 2;
  }
  for (const auto& seed : seeds) run(seed);
  run("");
  Random random(20240501);  // NOLINT: the same changes each time are the point
  const unsigned long runs = std::strtoul(argv[1], nullptr, 10);
  for (unsigned long i = 0; i < runs; ++i) {
    auto input = seeds[below(random, seeds.size())];
    for (auto changes = 1 + random() % kMostChanges; changes > 0; --changes) change(input, seeds, random);
    run(input);
  }
  std::printf("%zu seeds, %lu changed inputs: nothing found\n", seeds.size(), runs);
  return 0;
}
