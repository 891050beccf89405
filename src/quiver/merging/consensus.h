// SPDX-License-Identifier: Apache-2.0
// TIES' second half (arXiv 2306.01708): elect a sign for each entry, then average the experts that agree with it.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// What the sum of the agreeing entries is divided by.
enum class Divisor {
  count,    ///< their number (PEFT, MTTL)
  weights,  ///< the sum of their weights (mergekit with `normalize`)
  nothing,  ///< mergekit without
};

/// entries [N, ...] float64, weights [N] float64 -> [...]. How signs are elected, and from what, is the convention's
/// (see MergeOptions::Convention); an expert agrees where the sign of its entry is the one elected, so zeros never
/// agree.
at::Tensor consensus(const at::Tensor& entries, const at::Tensor& weights, MergeOptions::Convention convention,
                     MergeOptions::Sign sign, Divisor divisor);

}  // namespace quiver::merging
