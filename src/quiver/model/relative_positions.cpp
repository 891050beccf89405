// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/relative_positions.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace quiver::model {

at::Tensor buckets_of(const at::Tensor& distances, std::int64_t buckets, std::int64_t max_distance, bool two_sided) {
  auto first = at::zeros_like(distances);
  auto distance = distances;
  if (two_sided) {
    buckets /= 2;
    first = (distances > 0).to(at::kLong) * buckets;
    distance = distances.abs();
  } else {
    distance = -distances.clamp_max(0);
  }
  const auto exact = buckets / 2;
  // Rounding decides borders between buckets: this is the order of operations, in float32, of the published model.
  const auto logarithmic =
      (at::log(distance.to(at::kFloat) / static_cast<double>(exact)) /
       std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) * static_cast<double>(buckets - exact))
          .to(at::kLong) +
      exact;
  return first + at::where(distance < exact, distance, logarithmic.clamp_max(buckets - 1));
}

at::Tensor relative_bias(const RelativePositions& positions, const std::vector<std::int64_t>& pasts,
                         std::int64_t length, std::int64_t keys) {
  const bool equal = std::all_of(pasts.begin(), pasts.end(), [&](auto past) { return past == pasts[0]; });
  const auto past = at::tensor(equal ? std::vector<std::int64_t>{pasts[0]} : pasts, at::kLong);
  const auto query = past.unsqueeze(1) + at::arange(length, at::kLong);
  const auto distances = at::arange(keys, at::kLong) - query.unsqueeze(2);
  const auto bucket = buckets_of(distances, positions.bias.size(0), positions.max_distance, positions.two_sided);
  return at::embedding(positions.bias, bucket).permute({0, 3, 1, 2});
}

}  // namespace quiver::model
