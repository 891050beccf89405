// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same on every machine: SplitMix64 seeding xoshiro256** (Blackman and Vigna, 2018).
//
// The standard library's distributions differ between implementations, so the few that are needed stand here.
// Not thread-safe: each thread or run has its own generator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace quiver {

class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t bits();
  /// Uniform in [0, 1).
  double uniform();
  /// Uniform in [0, bound), bound > 0, without modulo bias.
  std::uint64_t below(std::uint64_t bound);
  /// Standard normal (Box and Muller).
  double normal();

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::array<std::uint64_t, 4> state_;
};

/// A seed for one named part of a run, so that parts do not share a stream.
std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t part);

}  // namespace quiver
