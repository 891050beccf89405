// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

/// Shares of 20,000 draws from logits of probabilities .5, .25, .15, .1.
std::vector<double> shares(const SamplingOptions& options, const std::vector<std::int32_t>& context = {}) {
  Random random(7);
  std::vector<double> out(4, 0.0);
  for (int i = 0; i < 20000; ++i) {
    std::vector<float> logits{std::log(0.5f), std::log(0.25f), std::log(0.15f), std::log(0.1f)};
    out[static_cast<std::size_t>(sample(logits, context, options, random))] += 1.0 / 20000;
  }
  return out;
}

// Four standard errors of a share at n = 20,000: 4 * sqrt(.25 / 20000).
constexpr double kNear = 0.015;

TEST(Sampling, TemperatureZeroTakesTheLargest) { EXPECT_NEAR(shares({})[0], 1.0, 1e-9); }

TEST(Sampling, TemperatureOneFollowsTheDistribution) {
  SamplingOptions o;
  o.temperature = 1.0;
  const auto s = shares(o);
  EXPECT_NEAR(s[0], 0.5, kNear);
  EXPECT_NEAR(s[1], 0.25, kNear);
  EXPECT_NEAR(s[3], 0.1, kNear);
}

TEST(Sampling, TopKTopPAndMinPCutTheTail) {
  SamplingOptions o;
  o.temperature = 1.0;
  o.top_k = 2;
  EXPECT_NEAR(shares(o)[0], 2.0 / 3.0, kNear);
  EXPECT_EQ(shares(o)[2], 0.0);
  o.top_k = 0;
  o.top_p = 0.75;
  EXPECT_EQ(shares(o)[2], 0.0);
  o.top_p = 0.76;
  EXPECT_GT(shares(o)[2], 0.0);
  EXPECT_EQ(shares(o)[3], 0.0);
  o.top_p = 1.0;
  o.min_p = 0.4;
  EXPECT_EQ(shares(o)[2], 0.0);
  EXPECT_GT(shares(o)[1], 0.0);
}

/// The choice by sorting the whole vocabulary.
std::int32_t sampled_by_sorting(const std::vector<float>& logits, const SamplingOptions& o, Random& random) {
  std::vector<std::pair<double, std::int32_t>> all;
  const double largest = *std::max_element(logits.begin(), logits.end());
  for (std::size_t i = 0; i < logits.size(); ++i)
    all.emplace_back(std::exp((logits[i] - largest) / o.temperature), static_cast<std::int32_t>(i));
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const auto total = [&] {
    double sum = 0.0;
    for (const auto& [p, id] : all) sum += p;
    return sum;
  };
  if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < all.size()) all.resize(static_cast<std::size_t>(o.top_k));
  std::size_t kept = 0;
  for (double sum = 0.0, enough = o.top_p * total(); kept < all.size() && sum < enough;) sum += all[kept++].first;
  all.resize(kept);
  while (all.back().first < o.min_p * all[0].first) all.pop_back();
  double left = random.uniform() * total();
  for (const auto& [p, id] : all) {
    left -= p;
    if (left < 0) return id;
  }
  return all.back().second;
}

TEST(Sampling, ALargeVocabularyIsDrawnFromAsIfItWereSorted) {
  Random numbers(3);
  std::vector<SamplingOptions> all(6);
  for (auto& o : all) o.temperature = 2.0;
  all[1].top_k = 300;
  all[2].top_p = 0.9;
  all[3].min_p = 0.01;
  all[4] = {.temperature = 0.7, .top_k = 2000, .top_p = 0.95, .min_p = 0.001};
  all[5].temperature = 50.0;  // so flat that most of the vocabulary is looked at
  for (const auto& o : all) {
    Random once(5), again(5);
    for (int i = 0; i < 50; ++i) {
      std::vector<float> logits(5000);
      for (auto& logit : logits)
        logit = static_cast<float>(std::round(4.0 * numbers.normal()) / 2.0);  // many are equal
      const auto expected = sampled_by_sorting(logits, o, once);
      EXPECT_EQ(sample(logits, {}, o, again), expected) << o.temperature << " " << o.top_k;
    }
  }
}

TEST(Sampling, ThePenaltyDividesPositiveAndMultipliesNegativeLogits) {
  SamplingOptions o;
  o.repetition_penalty = 3.0;
  Random random(1);
  std::vector<float> logits{3.0f, 2.0f, -1.0f};
  EXPECT_EQ(sample(logits, std::vector<std::int32_t>{0, 0, 2}, o, random), 1);
  EXPECT_FLOAT_EQ(logits[0], 1.0f);
  EXPECT_FLOAT_EQ(logits[2], -3.0f);
}

TEST(Sampling, OptionsOutOfRangeAreNamed) {
  SamplingOptions o;
  o.top_p = 0.0;
  EXPECT_THROW(check(o), Error);
  o.top_p = 1.0;
  o.temperature = -1.0;
  EXPECT_THROW(check(o), Error);
  o.temperature = std::nan("");
  EXPECT_THROW(check(o), Error);
}

TEST(Sampling, WhatAGreedyChoiceDoesNotReadIsRefused) {
  SamplingOptions o;
  o.min_p = 0.1;
  EXPECT_THROW(check(o), Error);
  o.temperature = 0.5;
  check(o);
  o = {};
  o.top_p = 0.9;
  EXPECT_THROW(check(o), Error);
  o = {};
  o.top_k = 1;  // the most likely, as greedy is
  check(o);
  o.top_k = 2;
  EXPECT_THROW(check(o), Error);
}

}  // namespace
}  // namespace quiver::model
