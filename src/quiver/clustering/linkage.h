// SPDX-License-Identifier: Apache-2.0
// Agglomerative clustering: the two nearest clusters are joined until one is left.
//
// The distance of a joined cluster to the others follows from those of its halves (Lance and Williams, 1967), so the
// points themselves are not needed. Among equal distances the pair of the lowest numbers is joined first.
#pragma once

#include <cstddef>
#include <vector>

namespace quiver::clustering {

enum class Linkage {
  average,   ///< mean distance of all pairs
  complete,  ///< largest distance of a pair
  single,    ///< smallest distance of a pair
  ward,      ///< growth of the sum of squares; the distances must be Euclidean
};

/// Clusters 0 to N - 1 are the points, N + s is what step s made: SciPy's linkage matrix.
struct Merge {
  std::size_t first, second;  ///< first < second
  double distance;
  std::size_t size;  ///< points in the joined cluster
};

/// The N - 1 steps, by ascending distance. `distance`: [N][N], symmetric; the diagonal is not read. Memory O(N^2), time
/// about O(N^2).
std::vector<Merge> agglomerate(std::vector<std::vector<double>> distance, Linkage linkage);

/// The clusters left when `clusters` of them are, numbered by their first points.
std::vector<std::size_t> cut(const std::vector<Merge>& merges, std::size_t clusters);

}  // namespace quiver::clustering
