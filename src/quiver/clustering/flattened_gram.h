// SPDX-License-Identifier: Apache-2.0
// Inner products of experts as MTTL embeds them (arXiv 2405.11157, MBC): all factors in one vector, small entries set
// to 0. The vectors differ with the gauge (A, B) -> (G A, B G^-1), which products_gram does not see.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/progress.h"

namespace quiver::clustering {

/// The q-quantile of |v| over all factors, q in [0, 1): torch.quantile's linear interpolation, in float32 as there, but
/// for any number of entries and in linear time.
float magnitude_quantile(const adapter::Adapter& expert, double q);

/// float64 [N, N]. Entries with |v| <= the expert's quantile count as 0; `sparsity` 0 keeps all. The order of the
/// entries plays no part in inner products, so it is that of the site names. Memory holds 4096 columns of the stacked
/// vectors at a time, multiplied in float32 and summed in float64. Throws Error{mismatch} where the experts' factors
/// differ in shape.
/// `progress` (may be null) is told of every site.
at::Tensor flattened_gram(const std::vector<const adapter::Adapter*>& experts, double sparsity,
                          Progress* progress = nullptr);

}  // namespace quiver::clustering
