// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/mersenne.h"

#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

/// MT19937. The standard library has the generator but not the seeding by a list of words, which Python uses.
class Mersenne {
 public:
  explicit Mersenne(std::uint32_t seed) { fill(seed); }

  /// The reference code's init_by_array: the words are folded into a state filled from a fixed seed.
  explicit Mersenne(const std::vector<std::uint32_t>& words) {
    fill(19650218u);
    std::size_t i = 1, word = 0;
    const auto previous = [&] { return state_[i - 1] ^ (state_[i - 1] >> 30); };
    const auto advance = [&] {
      if (++i < kWords) return;
      state_[0] = state_[kWords - 1];
      i = 1;
    };
    for (std::size_t k = std::max(kWords, words.size()); k > 0; --k) {
      state_[i] = (state_[i] ^ (previous() * 1664525u)) + words[word] + static_cast<std::uint32_t>(word);
      advance();
      if (++word == words.size()) word = 0;
    }
    for (std::size_t k = kWords - 1; k > 0; --k) {
      state_[i] = (state_[i] ^ (previous() * 1566083941u)) - static_cast<std::uint32_t>(i);
      advance();
    }
    state_[0] = 0x80000000u;
  }

  std::uint32_t next() {
    if (at_ == kWords) renew();
    auto y = state_[at_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }

 private:
  static constexpr std::size_t kWords = 624, kShift = 397;

  void fill(std::uint32_t seed) {
    state_[0] = seed;
    for (std::size_t i = 1; i < kWords; ++i) {
      state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
    }
  }

  void renew() {
    for (std::size_t i = 0; i < kWords; ++i) {
      const auto y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7fffffffu);
      state_[i] = state_[(i + kShift) % kWords] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
    }
    at_ = 0;
  }

  std::array<std::uint32_t, kWords> state_{};
  std::size_t at_ = kWords;
};

std::vector<std::size_t> ascending(std::size_t count) {
  std::vector<std::size_t> items(count);
  std::iota(items.begin(), items.end(), std::size_t{0});
  return items;
}

}  // namespace

std::vector<std::size_t> torch_permutation(std::size_t count, std::uint64_t seed) {
  QUIVER_CHECK(count < UINT32_MAX / 20, unsupported, "torch_permutation", "expected fewer than {} items, came {}",
               UINT32_MAX / 20, count);
  Mersenne generator(static_cast<std::uint32_t>(seed));
  auto items = ascending(count);
  for (std::size_t i = 0; i + 1 < count; ++i) std::swap(items[i], items[i + generator.next() % (count - i)]);
  return items;
}

std::vector<std::size_t> python_shuffle(std::size_t count, std::uint64_t seed) {
  QUIVER_CHECK(count <= UINT32_MAX, unsupported, "python_shuffle", "expected fewer than 2^32 items, came {}", count);
  std::vector<std::uint32_t> words{static_cast<std::uint32_t>(seed)};
  if (seed >> 32 != 0) words.push_back(static_cast<std::uint32_t>(seed >> 32));
  Mersenne generator(words);
  auto items = ascending(count);
  for (std::size_t bound = count; bound > 1; --bound) {
    const auto bits = std::bit_width(bound);
    std::size_t drawn = bound;
    while (drawn >= bound) drawn = generator.next() >> (32 - bits);
    std::swap(items[bound - 1], items[drawn]);
  }
  return items;
}

}  // namespace quiver::data
