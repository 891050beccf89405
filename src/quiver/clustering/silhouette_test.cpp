// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/silhouette.h"

#include <gtest/gtest.h>

#include "quiver/clustering/test_experts.h"

namespace quiver::clustering {
namespace {

TEST(Silhouettes, ByHand) {
  // Points 0, 1, 10 on a line; {0, 1} and {10}: a = 1, b = 10 and 9; the point alone has 0.
  const Rows distance{{0, 1, 10}, {1, 0, 9}, {10, 9, 0}};
  const auto got = silhouettes(distance, {0, 0, 1});
  EXPECT_DOUBLE_EQ(got[0], 0.9);
  EXPECT_DOUBLE_EQ(got[1], 8.0 / 9.0);
  EXPECT_EQ(got[2], 0.0);
  EXPECT_DOUBLE_EQ(mean_silhouette(distance, {0, 0, 1}), (0.9 + 8.0 / 9.0) / 3.0);
  // {0, 10} and {1}: a = 10, b = 1 and 9.
  const auto wrong = silhouettes(distance, {0, 1, 0});
  EXPECT_DOUBLE_EQ(wrong[0], -0.9);
  EXPECT_DOUBLE_EQ(wrong[2], -0.1);
}

TEST(Silhouettes, EqualPointsAndGapsInTheNumbersAreHarmless) {
  EXPECT_EQ(silhouettes(Rows(4, std::vector<double>(4, 0.0)), {0, 0, 3, 3}), (std::vector<double>(4, 0.0)));
}

TEST(Silhouettes, EqualScikitLearn) {
  const auto golden = golden_json("linkage.json");
  const auto distance = golden["distance"].get<Rows>();
  for (const auto& [name, expected] : golden["methods"].items()) {
    for (const auto& [clusters, labels] : expected["labels"].items()) {
      const auto got = silhouettes(distance, labels.get<std::vector<std::size_t>>());
      const auto& want = expected["silhouettes"][clusters];
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i].get<double>(), 1e-13) << name;
    }
  }
}

TEST(Silhouettes, OneClusterIsAnError) {
  EXPECT_THROW(silhouettes(Rows(2, std::vector<double>(2, 1.0)), {0, 0}), Error);
  EXPECT_THROW(silhouettes({}, {}), Error);
}

}  // namespace
}  // namespace quiver::clustering
