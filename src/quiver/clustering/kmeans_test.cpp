// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/kmeans.h"

#include <gtest/gtest.h>

#include <cmath>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/clustering/test_experts.h"

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

/// scikit-learn draws other numbers, so that only what it arrives at can be equal: ours must be as good.
TEST(KMeans, ReachesScikitLearnsInertia) {
  const auto experts = golden_json("experts.json"), points = golden_json("points.json");
  const auto compare = [](const Rows& rows, const nlohmann::json& fits, double share, bool same_clusters) {
    for (const auto& fit : fits) {
      KMeansOptions options;
      options.clusters = fit["clusters"];
      const auto result = k_means(rows, options);
      EXPECT_LE(result.inertia, share * fit["inertia"].get<double>()) << options.clusters;
      auto want = fit["labels"].get<std::vector<std::size_t>>();
      number_by_first_member(want);
      EXPECT_TRUE(!same_clusters || result.cluster == want) << options.clusters;
      if (result.cluster == want) {
        EXPECT_NEAR(result.inertia, fit["inertia"].get<double>(), 1e-12 * static_cast<double>(rows.size()));
      }
    }
  };
  compare(experts["cosine_arpack"].get<Rows>(), experts["kmeans"], 1.0 + 1e-12, true);
  // Without structure ten starts end in different local minima, a few per cent apart.
  compare(points["points"].get<Rows>(), points["kmeans"], 1.02, false);
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

TEST(KMeans, PointsThatAreNotFiniteAreAnError) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (std::size_t clusters = 1; clusters <= 4; ++clusters) {
      KMeansOptions options;
      options.clusters = clusters;
      EXPECT_THROW(k_means({{1.0, 0.0}, {2.0, bad}, {0.0, 1.0}, {3.0, 3.0}}, options), Error) << clusters;
    }
  }
}

}  // namespace
}  // namespace quiver::clustering
