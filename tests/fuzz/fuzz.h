#pragma once
// A fuzz target: a parser of what strangers send, and what must hold whatever they send. With clang it is a libFuzzer program
// (script/fuzz); with any compiler it is a test (replay.cpp) that goes through the seeds and a fixed number of changes of them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace bailiff::fuzz {

/// Good inputs, and bad ones that were worth remembering. Each target defines it.
std::vector<std::string> seeds();

/// What must hold; else the input is a finding.
inline void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace bailiff::fuzz
