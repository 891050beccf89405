// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/request_mix.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quiver::routing {
namespace {

TEST(RequestMix, KeepsTheBestAndWeighsThemBySoftmax) {
  const auto pairs = pairs_of({0.1, 0.9, 0.5}, {2, 0.2});
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].first, 1);
  EXPECT_EQ(pairs[1].first, 2);
  EXPECT_NEAR(pairs[0].second, 1 / (1 + std::exp(-2.0)), 1e-6);
  EXPECT_NEAR(pairs[0].second + pairs[1].second, 1.0, 1e-6);
}

TEST(RequestMix, TiesGoToTheLowerNumberAndTheNegligibleIsLeftOut) {
  const auto tie = pairs_of({0.5, 0.5}, {1, 1.0});
  ASSERT_EQ(tie.size(), 1u);
  EXPECT_EQ(tie[0].first, 0);
  EXPECT_EQ(pairs_of({0.0, 1.0, 0.99}, {0, 0.01}).size(), 2u) << "exp(-100) is nothing";
}

TEST(RequestMix, BelowTheFloorTheBaseModelAnswers) {
  EXPECT_TRUE(pairs_of({0.1, 0.2}, {1, 1.0, 0.3}).empty());
  EXPECT_EQ(pairs_of({0.1, 0.4}, {1, 1.0, 0.3}).size(), 1u);
  EXPECT_TRUE(pairs_of({}, {}).empty());
}

}  // namespace
}  // namespace quiver::routing
