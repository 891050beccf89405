// SPDX-License-Identifier: Apache-2.0
// T5's relative positions (Raffel et al., 2020, section 2.1): a learned bias per head and bucket of distance, added to
// the scores of attention.
//
// Distances key - query fall into buckets: half of them one distance each, the rest in logarithmic steps up to
// max_distance. With two sides, as in an encoder, keys before and after the query have half of the buckets each; with
// one, all keys after the query share bucket 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace quiver::model {

struct RelativePositions {
  at::Tensor bias;  ///< [buckets, H]
  std::int64_t max_distance = 128;
  bool two_sided = true;
};

/// int64: the bucket of each distance (int64, any shape).
at::Tensor buckets_of(const at::Tensor& distances, std::int64_t buckets, std::int64_t max_distance, bool two_sided);

/// The bias of queries at positions [past_n, past_n + length) for keys at [0, keys): [N, H, length, keys], with N = 1
/// where all pasts are equal. Differentiable in `bias`.
at::Tensor relative_bias(const RelativePositions& positions, const std::vector<std::int64_t>& pasts,
                         std::int64_t length, std::int64_t keys);

}  // namespace quiver::model
