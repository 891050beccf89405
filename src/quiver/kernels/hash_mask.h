// SPDX-License-Identifier: Apache-2.0
// A dropout mask from a hash, so that it can be computed again instead of stored.
#pragma once

#include <cstdint>

namespace quiver::kernels {

/// mask[j] = 0 with `probability`, else 1 / (1 - probability), decided by a 32-bit hash of (seed, j). width entries.
void hash_mask(std::uint64_t seed, double probability, std::int64_t width, float* mask);

}  // namespace quiver::kernels
