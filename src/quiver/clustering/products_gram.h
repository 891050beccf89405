// SPDX-License-Identifier: Apache-2.0
// Inner products of what experts compute: <s_i B_i A_i, s_j B_j A_j> summed over sites, without ever forming B A.
//
//   <B_i A_i, B_j A_j> = sum over (p, q) of (A_i A_j^T)[p, q] (B_i^T B_j)[p, q],   p < R_i, q < R_j
//
// Per site the experts' factors are stacked, so that all pairs are two matrix products and sums over blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/progress.h"

namespace quiver::clustering {

/// float64 [N, N], symmetric. Ranks may differ, and a site that one expert lacks adds nothing. The two matrix products
/// are in float32, all sums after them in float64. Beyond the result, memory holds two stacks of about 512 rows (sum of
/// ranks) of one site and their products. Throws Error{mismatch} where factors of one site differ in `in` or `out`.
/// `progress` (may be null) is told of every site.
at::Tensor products_gram(const std::vector<const adapter::Adapter*>& experts, Progress* progress = nullptr);

}  // namespace quiver::clustering
