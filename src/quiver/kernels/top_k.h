// SPDX-License-Identifier: Apache-2.0
// Selection of the best experts of each token.
#pragma once

#include <cstdint>

namespace quiver::kernels {

struct TopKShape {
  std::int64_t tokens = 0;
  std::int64_t experts = 0;
  std::int64_t k = 0;  ///< 1 <= k <= experts
  float inverse_temperature = 1.0f;
};

/// For each token: the k largest of scores[t, :], best first, ties to the lower index, and the softmax of score *
/// inverse_temperature over those k, accumulated in float32.
/// scores: [tokens, experts] dense rows. chosen, weights: [tokens, k]. No aliasing, no allocation. NaN counts as
/// smallest.
void top_k_softmax(const float* scores, const TopKShape& shape, std::int32_t* chosen, float* weights);

}  // namespace quiver::kernels
