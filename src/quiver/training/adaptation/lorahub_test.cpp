// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/lorahub.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "quiver/base/error.h"

namespace quiver::training {
namespace {

const std::vector<double> kBest{0.4, -0.7, 1.1, 0.0, -0.2};

/// A bowl about kBest whose axes are tilted against each other.
double bowl(const std::vector<double>& w) {
  double sum = 2.0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double d = w[i] - kBest[i], next = w[(i + 1) % w.size()] - kBest[(i + 1) % w.size()];
    sum += (1.0 + static_cast<double>(i)) * d * d + 0.5 * d * next;
  }
  return sum;
}

TEST(Lorahub, FindsTheBottomOfABowl) {
  LorahubOptions options;
  options.evaluations = 400;
  options.penalty = 0.0;
  const auto found = lorahub(kBest.size(), bowl, options);
  EXPECT_LE(found.evaluations, 400);
  for (std::size_t i = 0; i < kBest.size(); ++i) EXPECT_NEAR(found.weights[i], kBest[i], 1e-2) << i;
  EXPECT_NEAR(found.objective, 2.0, 1e-3);
  EXPECT_NEAR(found.at_zero, bowl(std::vector<double>(kBest.size(), 0.0)), 1e-12);
}

TEST(Lorahub, GainsWithinTheBudgetOfThirty) {
  const auto found = lorahub(kBest.size(), bowl, {});
  EXPECT_EQ(found.evaluations, 30);
  EXPECT_LT(found.objective, 2.0 + 0.25 * (found.at_zero - 2.0));
}

TEST(Lorahub, StaysWithinItsBounds) {
  const auto far = [](const std::vector<double>& w) { return std::pow(w[0] - 9.0, 2) + std::pow(w[1] + 9.0, 2); };
  LorahubOptions options;
  options.evaluations = 100;
  options.penalty = 0.0;
  const auto found = lorahub(2, far, options);
  EXPECT_NEAR(found.weights[0], 1.5, 1e-3);
  EXPECT_NEAR(found.weights[1], -1.5, 1e-3);
  EXPECT_LE(std::abs(found.weights[0]), 1.5);
}

TEST(Lorahub, ThePenaltyKeepsUselessWeightsSmall) {
  LorahubOptions options;
  options.evaluations = 200;
  options.penalty = 1.0;
  const auto found = lorahub(
      2, [](const auto& w) { return std::pow(w[0] - 1.0, 2); }, options);
  // The least is at w_0 = 3/4 (2 (1 - w_0) = 1/2); a linear model finds a kink's neighbourhood slowly.
  EXPECT_NEAR(found.objective, 0.25 * 0.25 + 0.5 * 0.75, 5e-3);
  EXPECT_NEAR(found.weights[1], 0.0, 2e-2);
}

TEST(Lorahub, SurvivesWhatIsNotFiniteAndPassesErrorsOn) {
  const auto found = lorahub(
      2, [](const auto& w) { return w[0] > 0.2 ? std::numeric_limits<double>::quiet_NaN() : std::pow(w[0] + 1, 2); },
      {});
  EXPECT_LT(found.weights[0], 0.0);
  EXPECT_THROW(lorahub(2, [](const auto&) -> double { throw std::runtime_error("no"); }, {}), std::runtime_error);
  EXPECT_THROW(lorahub(0, bowl, {}), Error);
}

TEST(Lorahub, IsRepeatable) { EXPECT_EQ(lorahub(5, bowl, {}).weights, lorahub(5, bowl, {}).weights); }

}  // namespace
}  // namespace quiver::training
