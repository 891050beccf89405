// SPDX-License-Identifier: Apache-2.0
// Silhouettes (Rousseeuw, 1987): how much nearer each point is to its own cluster than to the next one.
//
//   s = (b - a) / max(a, b),  a: mean distance to the others of its cluster,  b: least mean distance to another cluster
#pragma once

#include <cstddef>
#include <vector>

namespace quiver::clustering {

/// Per point, in [-1, 1]; 0 for a point that is alone in its cluster. `distance`: [N][N], the diagonal is not read.
/// Throws Error{usage} unless there are two clusters at least.
std::vector<double> silhouettes(const std::vector<std::vector<double>>& distance,
                                const std::vector<std::size_t>& cluster);

/// Their mean: 1 where clusters are tight and far apart, about 0 where they mean nothing.
double mean_silhouette(const std::vector<std::vector<double>>& distance, const std::vector<std::size_t>& cluster);

}  // namespace quiver::clustering
