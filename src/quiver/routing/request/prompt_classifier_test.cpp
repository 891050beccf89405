// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/prompt_classifier.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/routing/request/prompt_router.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

/// Prompts of three tasks that differ in one direction, which a much larger common spread in another hides.
std::vector<at::Tensor> planted(std::uint64_t seed, std::int64_t rows) {
  at::manual_seed(seed);
  std::vector<at::Tensor> out;
  for (int e = 0; e < 3; ++e) {
    auto f = at::randn({rows, 6});
    f.select(1, 0).mul_(30.0);
    f.select(1, 1).mul_(0.3).add_(2.0 * e);
    out.push_back(f);
  }
  return out;
}

TEST(PromptClassifier, IsMahalanobisDistanceWithTheShrunkCovariance) {
  const auto features = planted(1, 40);
  const auto classifier = fit_prompt_classifier(features);
  std::vector<at::Tensor> centred;
  for (const auto& f : features) centred.push_back((f - f.mean(0)).to(at::kDouble));
  const auto x = at::cat(centred, 0);
  auto covariance = at::mm(x.t(), x) / (120.0 - 3.0);
  // A bfloat16 pass keeps a feature to 2^-8 of its size, taken with the median size.
  const auto squares = at::cat(features, 0).to(at::kDouble).square().mean(0);
  const auto rounding = (squares + squares.median()) / 65536.0;
  covariance = covariance * 0.7 + at::diag(covariance.diagonal() * 0.3 + rounding);
  const auto difference = (features[1][5] - features[2].mean(0)).to(at::kDouble);
  const double expected = difference.dot(at::linalg_inv(covariance).matmul(difference)).item<double>();
  EXPECT_NEAR(distances(classifier, features[1].narrow(0, 5, 1))[0][2].item<double>(), expected, 1e-3 * expected);
}

TEST(PromptClassifier, TellsTasksApartUnderACommonSpread) {
  const auto classifier = fit_prompt_classifier(planted(1, 40));
  EXPECT_GT(classifier.accuracy, 0.95);
  EXPECT_GT(classifier.edge, 0.0);
  const auto fresh = planted(2, 50);
  const auto least = distances(classifier, at::cat(fresh, 0)).amin(1);
  EXPECT_NEAR(least.lt(classifier.edge).to(at::kFloat).mean().item<double>(), 0.99, 0.03);
  for (std::int64_t e = 0; e < 3; ++e) {
    const auto nearest = distances(classifier, fresh[static_cast<std::size_t>(e)]).argmin(1);
    EXPECT_GT(nearest.eq(e).to(at::kFloat).mean().item<double>(), 0.9);
  }
  EXPECT_NO_THROW(fit_prompt_classifier({at::randn({1, 4}), at::randn({3, 4})})) << "a single prompt is enough";
  EXPECT_GT(fit_prompt_classifier({at::randn({1, 4}), at::randn({1, 4})}).edge, 0.0) << "it divides distances";
  EXPECT_THROW(fit_prompt_classifier({}), Error);
}

/// `rows` times one text's features, as passes in bfloat16 give them.
at::Tensor one_text(std::uint64_t seed, std::int64_t rows) {
  at::manual_seed(seed);
  const auto text = at::randn({1, 96}) + 0.5;
  return (text.expand({rows, 96}) * (1.0 + at::randn({rows, 96}) / 1024)).contiguous();
}

TEST(PromptClassifier, OneTextOfEachExpertIsKnown) {
  for (const std::int64_t rows : {1, 2, 8}) {
    const std::vector<at::Tensor> texts{one_text(1, rows), one_text(2, rows), one_text(3, rows)};
    std::vector<at::Tensor> stored;
    for (const auto& t : texts) stored.push_back(t.to(at::kHalf).to(at::kFloat));
    const auto fitted = fit_prompt_classifier(stored);
    for (std::int64_t e = 0; e < 3; ++e) {
      const auto squares = distances(fitted, one_text(static_cast<std::uint64_t>(e) + 1, 1))[0];
      const std::vector<double> row{squares[0].item<double>(), squares[1].item<double>(), squares[2].item<double>()};
      const auto pairs = pairs_of_distances(row, fitted, {});
      ASSERT_EQ(pairs.size(), 1u) << rows << " " << e;
      EXPECT_EQ(pairs[0].first, e);
      EXPECT_NEAR(pairs[0].second, 1.0, 1e-3);
    }
    // Nearly expert 0's text: a tenth of the way to expert 1's. Another text is none of theirs.
    const auto near = distances(fitted, texts[0].narrow(0, 0, 1) * 0.9 + texts[1].narrow(0, 0, 1) * 0.1);
    EXPECT_LT(near.min().item<double>(), fitted.edge);
    EXPECT_EQ(near.argmin().item<std::int64_t>(), 0);
    EXPECT_GT(distances(fitted, one_text(9, 1)).min().item<double>(), fitted.edge);
  }
}

TEST(PromptClassifier, ASingleExpertOfOneTextIsUsedForIt) {
  const auto fitted = fit_prompt_classifier({one_text(4, 6).to(at::kHalf).to(at::kFloat)});
  const auto own = distances(fitted, one_text(4, 1)).item<double>(),
             other = distances(fitted, one_text(5, 1)).item<double>();
  const auto pairs = pairs_of_distances({own}, fitted, {});
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_NEAR(pairs[0].second, 1.0, 1e-3);
  EXPECT_TRUE(pairs_of_distances({other}, fitted, {}).empty()) << "the base model";
}

TEST(PromptClassifier, ExpertsOfTheSameTextShareIt) {
  const auto fitted = fit_prompt_classifier({one_text(6, 2), one_text(6, 2), one_text(7, 2)});
  const auto squares = distances(fitted, one_text(6, 1))[0];
  const auto pairs =
      pairs_of_distances({squares[0].item<double>(), squares[1].item<double>(), squares[2].item<double>()}, fitted, {});
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_NEAR(pairs[0].second, 0.5, 1e-3);
}

TEST(PromptRouter, KnownPromptsGetTheirExpertStrangeOnesTheMeanOfAllAndForeignOnesTheBase) {
  PromptClassifier fitted;
  fitted.edge = 100.0;
  fitted.temperature = 10.0;
  PromptRouterOptions options;
  options.top_k = 2, options.sharpness = 8, options.base_from = 3, options.temperature = 1;
  const auto choose = [&](const std::vector<double>& squares) { return pairs_of_distances(squares, fitted, options); };
  const auto known = choose({20.0, 190.0, 500.0});
  ASSERT_EQ(known.size(), 1u) << "exp(-17) and 0.2^8 / 3 are negligible";
  EXPECT_EQ(known[0].first, 0);
  EXPECT_NEAR(known[0].second, 1.0, 1e-5);
  const auto near_two = choose({30.0, 35.0, 36.0});
  ASSERT_EQ(near_two.size(), 2u) << "the nearest two";
  EXPECT_NEAR(near_two[1].second / near_two[0].second, std::exp(-0.5), 1e-3);
  const auto at_the_edge = choose({900.0, 100.0, 800.0});
  ASSERT_EQ(at_the_edge.size(), 3u);
  EXPECT_NEAR(at_the_edge[0].second, 1.0 / 6, 1e-5) << "half of a third";
  EXPECT_NEAR(at_the_edge[1].second, 0.5 + 1.0 / 6, 1e-5);
  for (const auto& [expert, weight] : choose({200.0, 300.0, 600.0})) EXPECT_NEAR(weight, 1.0 / 3, 3e-3);
  double sum = 0.0;
  for (const auto& [expert, weight] : choose({600.0, 610.0, 900.0})) sum += weight;
  EXPECT_NEAR(sum, std::pow(0.5, 8), 1e-4);
  EXPECT_TRUE(choose({900.0, 900.0, 900.0}).empty()) << "the base model alone";
  const auto many = choose(std::vector<double>(2000, 200.0));
  ASSERT_EQ(many.size(), 32u);
  options.others = 0;
  EXPECT_EQ(choose(std::vector<double>(2000, 200.0)).size(), 2000u) << "small as each is";
  options.others = 2;
  const auto nearest = choose({300.0, 200.0, 600.0});
  ASSERT_EQ(nearest.size(), 2u) << "the mean of the nearest two";
  EXPECT_NEAR(nearest[0].second, 0.5, 3e-3);
}

using PromptRouterExperts = WithBank;

TEST_F(PromptRouterExperts, WithVectorsBeforeThePromptAreAloneOrAway) {
  auto experts = bank({2, 2});
  adapter::Adapter vectors;
  vectors.soft_prompt = at::zeros({3, model_.config().hidden});
  experts->add("vectors", vectors);
  using Pairs = std::vector<ops::ExpertWeight>;
  EXPECT_EQ(that_mix({{2, 0.5f}}, *experts), (Pairs{{2, 1.0f}})) << "vectors are read whole or not at all";
  EXPECT_EQ(that_mix({{2, 0.4f}}, *experts), Pairs{});
  EXPECT_EQ(that_mix({{0, 0.25f}, {2, 0.5f}}, *experts), (Pairs{{2, 1.0f}}));
  const auto others = that_mix({{0, 0.5f}, {1, 0.25f}, {2, 0.25f}}, *experts);
  ASSERT_EQ(others.size(), 2u);
  EXPECT_NEAR(others[0].second, 2.0 / 3, 1e-6);
  EXPECT_NEAR(others[1].second, 1.0 / 3, 1e-6);
  EXPECT_EQ(that_mix({{0, 0.5f}, {1, 0.5f}}, *experts), (Pairs{{0, 0.5f}, {1, 0.5f}}));
}

}  // namespace
}  // namespace quiver::routing
