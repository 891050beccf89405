// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/silhouette.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

/// Of one point, given the sums of its distances to the members of each cluster.
double silhouette(const std::vector<double>& sums, const std::vector<double>& sizes, std::size_t own) {
  if (sizes[own] <= 1.0) return 0.0;
  const double a = sums[own] / (sizes[own] - 1.0);
  double b = std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (c != own && sizes[c] > 0.0) b = std::min(b, sums[c] / sizes[c]);
  }
  const double larger = std::max(a, b);
  return larger > 0.0 ? (b - a) / larger : 0.0;
}

}  // namespace

std::vector<double> silhouettes(const std::vector<std::vector<double>>& distance,
                                const std::vector<std::size_t>& cluster) {
  const auto n = cluster.size();
  std::vector<double> sizes(n == 0 ? 0 : *std::max_element(cluster.begin(), cluster.end()) + 1, 0.0);
  for (const auto c : cluster) sizes[c] += 1.0;
  const auto used = std::count_if(sizes.begin(), sizes.end(), [](double size) { return size > 0.0; });
  QUIVER_CHECK(used >= 2, usage, "silhouettes", "{} clusters, expected 2 or more", used);
  std::vector<double> out;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> sums(sizes.size(), 0.0);
    for (std::size_t j = 0; j < n; ++j) {
      if (j != i) sums[cluster[j]] += distance[i][j];
    }
    out.push_back(silhouette(sums, sizes, cluster[i]));
  }
  return out;
}

double mean_silhouette(const std::vector<std::vector<double>>& distance, const std::vector<std::size_t>& cluster) {
  const auto each = silhouettes(distance, cluster);
  return std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(each.size());
}

}  // namespace quiver::clustering
