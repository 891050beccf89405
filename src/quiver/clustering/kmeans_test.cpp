// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::clustering {
namespace {

TEST(KMeans, FindsPlantedClusters) {
  Random random(5);
  std::vector<std::vector<double>> points;
  for (int i = 0; i < 30; ++i)
    points.push_back({10.0 * (i % 3) + random.normal() * 0.3, -5.0 * (i % 3) + random.normal() * 0.3});
  KMeansOptions options;
  options.clusters = 3;
  const auto result = k_means(points, options);
  for (std::size_t i = 0; i < points.size(); ++i) EXPECT_EQ(result.cluster[i], i % 3);
}

TEST(KMeans, EveryClusterHasAPointEvenAmongEqualOnes) {
  const std::vector<std::vector<double>> points(5, {1.0, 2.0});
  KMeansOptions options;
  options.clusters = 3;
  const auto result = k_means(points, options);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NE(std::count(result.cluster.begin(), result.cluster.end(), c), 0);
}

TEST(KMeans, TheSameSeedGivesTheSameClusters) {
  Random random(6);
  std::vector<std::vector<double>> points;
  for (int i = 0; i < 40; ++i) points.push_back({random.uniform(), random.uniform()});
  KMeansOptions options;
  options.clusters = 4;
  EXPECT_EQ(k_means(points, options).cluster, k_means(points, options).cluster);
}

TEST(KMeans, MoreClustersThanPointsIsAnError) {
  KMeansOptions options;
  options.clusters = 3;
  EXPECT_THROW(k_means({{1.0}, {2.0}}, options), Error);
}

}  // namespace
}  // namespace quiver::clustering
