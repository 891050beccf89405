// SPDX-License-Identifier: Apache-2.0
// k-means with greedy k-means++ seeding (Arthur and Vassilvitskii, 2007; several candidates per centre, as scikit-learn
// has it), the best of several starts.
#pragma once

#include <cstdint>
#include <vector>

namespace quiver::clustering {

struct KMeansOptions {
  std::size_t clusters = 10;
  int starts = 10;           ///< the one with the least inertia wins
  int max_iterations = 300;  ///< of Lloyd's steps per start
  std::uint64_t seed = 42;
};

struct KMeansResult {
  std::vector<std::size_t> cluster;  ///< per point; numbered by the first point of each cluster
  double inertia = 0.0;              ///< sum of squared distances to the centres
};

/// Every cluster has at least one point. Throws Error{usage} where 1 <= clusters <= points does not hold, Error{format}
/// where a point's numbers are not finite.
KMeansResult k_means(const std::vector<std::vector<double>>& points, const KMeansOptions& options);

/// Renumbers clusters in the order of their first members.
void number_by_first_member(std::vector<std::size_t>& cluster);

}  // namespace quiver::clustering
