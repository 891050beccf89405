// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/top_k.h"

#include <cmath>
#include <limits>

namespace quiver::kernels {
namespace {

/// Insertion into a short sorted list: k is small (3 by default), so most scores fail the one comparison with the last.
void select(const float* scores, const TopKShape& shape, std::int32_t* chosen, float* best) {
  for (std::int64_t i = 0; i < shape.k; ++i) best[i] = -std::numeric_limits<float>::infinity(), chosen[i] = -1;
  const std::int64_t last = shape.k - 1;
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    const float score = std::isnan(scores[e]) ? -std::numeric_limits<float>::infinity() : scores[e];
    if (chosen[last] >= 0 && !(score > best[last])) continue;
    std::int64_t at = last;
    while (at > 0 && (chosen[at - 1] < 0 || score > best[at - 1])) {
      best[at] = best[at - 1];
      chosen[at] = chosen[at - 1];
      --at;
    }
    best[at] = score;
    chosen[at] = static_cast<std::int32_t>(e);
  }
}

void softmax(float* values, std::int64_t count, float scale) {
  const float largest = std::isinf(values[0]) ? 0.0f : values[0];
  float sum = 0.0f;
  for (std::int64_t i = 0; i < count; ++i) sum += values[i] = std::exp((values[i] - largest) * scale);
  for (std::int64_t i = 0; i < count; ++i) values[i] = sum > 0.0f ? values[i] / sum : 1.0f / static_cast<float>(count);
}

}  // namespace

void top_k_softmax(const float* scores, const TopKShape& shape, std::int32_t* chosen, float* weights) {
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    select(scores + t * shape.experts, shape, chosen + t * shape.k, weights + t * shape.k);
    softmax(weights + t * shape.k, shape.k, shape.inverse_temperature);
  }
}

}  // namespace quiver::kernels
