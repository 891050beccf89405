// SPDX-License-Identifier: Apache-2.0
// apply_experts without gradients, by kernels.
#pragma once

#include "quiver/ops/apply_experts.h"

namespace quiver::ops {

/// Adds the experts of all sites to `y` in place (combine = outputs). False, with nothing done, where kernels do not
/// serve the tensors or a site has dropout.
bool add_outputs_by_kernels(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites);

}  // namespace quiver::ops
