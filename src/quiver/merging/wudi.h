// SPDX-License-Identifier: Apache-2.0
// WUDI merging (arXiv 2503.08099) by MTTL's recipe: for each tensor X of the N experts,
//   minimise sum_i |(X - X_i)^T X_i|^2 / |X_i|^2
// from X = sum_i X_i by Adam (betas 0.9 and 0.999, eps 1e-8), until five steps in a row change the objective by less
// than 1e-4; the result is X / N.
//
// combine=factors (default) takes A and B for tensors. MTTL optimises the factors as stored, so experts are first
// brought to the first one's scale s: A_i sqrt(s_i/s), B_i sqrt(s_i/s), which with equal scales changes nothing.
// combine=products takes the dense differences, scales included, and truncates the result; a step then costs two dense
// products per site.
#pragma once

#include <vector>

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// tensors [m, n] float64, one per expert -> [m, n].
at::Tensor wudi_tensor(const std::vector<at::Tensor>& tensors, double learning_rate, std::int64_t iterations);

/// Takes no weights. A site that an expert lacks counts in N.
adapter::Adapter merge_wudi(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
