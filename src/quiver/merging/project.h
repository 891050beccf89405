// SPDX-License-Identifier: Apache-2.0
// Projection of the first expert onto the span of the others (MTTL's expert_projector, which describes an expert of a
// cluster by the cluster's members): least squares, X_0 ~ sum_e c_e X_e.
//
// combine=factors (default) projects A and B as tensors of their own (granularity=fine), or with one set of
// coefficients for all tensors of all sites (coarse). combine=products projects the differences, whose result is exact;
// fine then means per site. Only the first expert's sites are in the result. Where the others do not determine the
// coefficients, those of least norm are taken.
#pragma once

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// The coefficients that minimise |x_0 - sum_e c_e x_e|, from gram [N, N] float64 of all inner products: N - 1 of them.
at::Tensor projection_coefficients(const at::Tensor& gram);

/// Takes no weights. Throws Error{usage} unless there are at least two experts.
adapter::Adapter merge_project(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
