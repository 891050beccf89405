// SPDX-License-Identifier: Apache-2.0
// Spherical interpolation between two experts (Shoemake, 1985), with the rules of mergekit's slerp.
//
// With the angle theta between two tensors x and y, the result is (sin((1-t) theta) x + sin(t theta) y) / sin(theta);
// where they are almost parallel (|cos theta| > 0.9995) or one is zero, (1-t) x + t y. combine=products interpolates
// each site's difference, whose angle follows from R x R matrices, exactly; combine=factors A and B, each for itself.
#pragma once

#include <utility>

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// The coefficients of x and y, from <x, x>, <y, y> and <x, y>.
std::pair<double, double> slerp_coefficients(double xx, double yy, double xy, double t);

/// t defaults to the second expert's share of the weights. Throws Error{usage} unless there are two experts.
adapter::Adapter merge_slerp(const MergeInput& input, const MergeOptions& options);

}  // namespace quiver::merging
