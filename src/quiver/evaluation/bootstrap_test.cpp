// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::evaluation {
namespace {

std::vector<double> coin_flips(std::size_t count, double chance, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> scores(count);
  for (auto& score : scores) score = random.uniform() < chance;
  return scores;
}

TEST(BootstrapMean, HasTheWidthOfTheNormalApproximation) {
  const auto scores = coin_flips(400, 0.7, 1);
  const auto interval = bootstrap_mean(scores);
  const double deviation = std::sqrt(interval.mean * (1 - interval.mean) / 400);
  // 2000 resamples know a 2.5 % quantile to 0.06 standard deviations; scores step by 1/400 = 0.11 of them.
  EXPECT_NEAR(interval.low, interval.mean - 1.96 * deviation, 0.3 * deviation);
  EXPECT_NEAR(interval.high, interval.mean + 1.96 * deviation, 0.3 * deviation);
}

TEST(BootstrapMean, CoversTheTruthAsOftenAsItSays) {
  int covered = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const auto interval = bootstrap_mean(coin_flips(100, 0.6, seed + 10), {.resamples = 400, .seed = seed});
    covered += interval.low <= 0.6 && 0.6 <= interval.high;
  }
  // 380 of 400 expected; the percentile interval covers a little less; 4.4 is the standard deviation.
  EXPECT_GE(covered, 360);
  EXPECT_LE(covered, 398);
}

TEST(BootstrapMean, IsFixedByItsSeed) {
  const auto scores = coin_flips(50, 0.5, 2);
  EXPECT_EQ(bootstrap_mean(scores).low, bootstrap_mean(scores).low);
  const auto wide = bootstrap_mean(scores, {.confidence = 0.99}), narrow = bootstrap_mean(scores, {.confidence = 0.5});
  EXPECT_LT(wide.low, narrow.low);
}

TEST(BootstrapMean, OneScoreAndEqualScoresHaveNoWidth) {
  const std::vector<double> one = {0.25};
  const auto interval = bootstrap_mean(one);
  EXPECT_EQ(interval.low, 0.25);
  EXPECT_EQ(interval.high, 0.25);
}

TEST(BootstrapMean, RefusesWhatHasNoMean) {
  EXPECT_THROW(bootstrap_mean({}), Error);
  const std::vector<double> bad = {std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THROW(bootstrap_mean(bad), Error);
  const std::vector<double> one = {1};
  EXPECT_THROW(bootstrap_mean(one, {.resamples = 0}), Error);
  EXPECT_THROW(bootstrap_mean(one, {.confidence = 1}), Error);
}

TEST(BootstrapStatistic, OfAMeanIsTheMeansInterval) {
  const auto scores = coin_flips(50, 0.4, 3);
  const auto mean = [&](std::span<const std::size_t> rows) {
    double sum = 0;
    for (const auto row : rows) sum += scores[row];
    return sum / static_cast<double>(rows.size());
  };
  const auto one = bootstrap_statistic(50, mean, {.seed = 9}), other = bootstrap_mean(scores, {.seed = 9});
  EXPECT_EQ(one.mean, other.mean);
  EXPECT_EQ(one.low, other.low);
  EXPECT_EQ(one.high, other.high);
  EXPECT_THROW(bootstrap_statistic(0, mean), Error);
}

TEST(BootstrapDifference, PairingSeesASmallDifferenceThatTheRowsAgreeOn) {
  auto second = coin_flips(300, 0.5, 3);
  auto first = second;
  int changed = 0;
  for (auto& score : first) {
    if (score == 0 && changed < 12) score = 1, ++changed;
  }
  const auto result = bootstrap_difference(first, second);
  EXPECT_EQ(result.wins, 12u);
  EXPECT_EQ(result.losses, 0u);
  EXPECT_GT(result.difference.low, 0);
  EXPECT_NEAR(result.difference.mean, 0.04, 1e-12);
  EXPECT_NEAR(result.sign_test_p, 2 * std::pow(0.5, 12), 1e-12);
}

TEST(BootstrapDifference, SignTestIsTheExactBinomialOne) {
  const std::vector<double> first = {1, 1, 1, 0, 1}, second = {0, 0, 0, 1, 1};
  EXPECT_NEAR(bootstrap_difference(first, second).sign_test_p, 2 * (1 + 4) / 16.0, 1e-12);
  EXPECT_EQ(bootstrap_difference(second, second).sign_test_p, 1.0);
  EXPECT_THROW(bootstrap_difference(first, std::span(second).first(2)), Error);
}

}  // namespace
}  // namespace quiver::evaluation
