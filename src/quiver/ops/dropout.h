// SPDX-License-Identifier: Apache-2.0
// Dropout whose mask depends on what is dropped, not on when: entry j of token t at a site is kept or not by a hash of
// (seed of t, site, j). So a row meets the same mask whether its expert trains alone or together with others, and a
// resumed run meets the masks it would have met.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace quiver::ops {

struct DropoutPlan {
  double probability = 0.0;                                       ///< in [0, 1); 0: no dropout
  std::shared_ptr<const std::vector<std::uint64_t>> token_seeds;  ///< [T]
  std::uint64_t site = 0;
  bool active() const { return probability > 0.0 && token_seeds != nullptr; }
};

/// The factor of each entry: 0 or 1 / (1 - probability). Returns [T, width] of `like`'s dtype.
at::Tensor dropout_mask(const DropoutPlan& plan, const at::Tensor& like);

}  // namespace quiver::ops
