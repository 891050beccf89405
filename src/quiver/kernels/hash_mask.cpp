// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/hash_mask.h"

namespace quiver::kernels {

void hash_mask(std::uint64_t seed, double probability, std::int64_t width, float* mask) {
  // SplitMix64's finaliser over a Weyl sequence: every (seed, j) gives an independent-looking word.
  const auto threshold = static_cast<std::uint32_t>(probability * 4294967296.0);
  const float kept = static_cast<float>(1.0 / (1.0 - probability));
  std::uint64_t state = seed * 0xd1b54a32d192ed03ULL;
  for (std::int64_t j = 0; j < width; ++j) {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    mask[j] = static_cast<std::uint32_t>(z >> 32) < threshold ? 0.0f : kept;
  }
}

}  // namespace quiver::kernels
