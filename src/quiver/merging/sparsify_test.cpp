// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/sparsify.h"

#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/merging/test_experts.h"

namespace quiver::merging {
namespace {

using Rescale = MergeOptions::Rescale;

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).view({1, static_cast<std::int64_t>(values.size())});
}

TEST(Sparsify, MagnitudeKeepsTheLargest) {
  EXPECT_TRUE(magnitude_mask(row({3, -5, 1, -2, 4}), 0.6).equal(row({1, 1, 0, 0, 1})));
  EXPECT_TRUE(magnitude_mask(row({3, -5, 1, -2, 4}), 0.59).equal(row({0, 1, 0, 0, 1})));  // int(2.95)
  EXPECT_TRUE(magnitude_mask(row({3, -5}), 0.3).equal(row({0, 0})));
}

TEST(Sparsify, BreadcrumbsDropsBothEnds) {
  const auto t = row({10, -9, 8, 7, -6, 5, 4, -3, 2, 1});
  EXPECT_TRUE(breadcrumbs_mask(t, 0.6, 0.2).equal(row({0, 0, 1, 1, 1, 1, 1, 1, 0, 0})));
  EXPECT_TRUE(breadcrumbs_mask(t, 0.6, 0.0).equal(row({1, 1, 1, 1, 1, 1, 0, 0, 0, 0})));
  EXPECT_TRUE(breadcrumbs_mask(t, 0.9, 0.4).equal(row({0, 1, 1, 1, 1, 1, 1, 1, 1, 1})));  // fewer large ones go
}

TEST(Sparsify, ThresholdsInterpolateAsTorchAndCountAsKnots) {
  const std::vector<at::Tensor> tensors{row({1, -2}), row({3, -4, 5})};
  EXPECT_DOUBLE_EQ(magnitude_quantile(tensors, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(magnitude_quantile(tensors, 0.2), 4.2);
  EXPECT_DOUBLE_EQ(knots_threshold(tensors, 0.4), 3.0);  // number 5 - 2 from below
}

TEST(Sparsify, DellaChancesRiseWithMagnitude) {
  const auto chances = della_chances(row({0.5, -3, 1, 2, 0.1}), 0.6, 0.2);
  EXPECT_LT(largest_gap(chances, row({0.5, 0.8, 0.6, 0.7, 0.4})), 1e-12);
  EXPECT_TRUE(della_chances(row({2}), 0.6, 0.2).equal(row({0.6})));
}

TEST(Sparsify, RandomMasksHaveTheirMoments) {
  const auto t = at::full_like(at::zeros({200, 200}, at::kDouble), 3.0);
  const auto chances = at::full_like(t, 0.3);
  const auto mask = random_mask(chances, 9);
  // Five standard deviations of a share of 40,000 draws with chance 0.3; the same for neighbours kept together.
  EXPECT_NEAR(mask.mean().item<double>(), 0.3, 5 * std::sqrt(0.3 * 0.7 / 40000));
  const auto pairs = (mask.narrow(1, 0, 199) * mask.narrow(1, 1, 199)).mean().item<double>();
  EXPECT_NEAR(pairs, 0.09, 5 * std::sqrt(0.09 / 39800));
  EXPECT_NEAR(masked(t, mask, chances, Rescale::probability).mean().item<double>(), 3.0,
              5 * 10 * std::sqrt(0.3 * 0.7 / 40000));
  EXPECT_NEAR(masked(t, mask, chances, Rescale::l1).mean().item<double>(), 3.0, 1e-9);
  EXPECT_TRUE(masked(t, mask, chances, Rescale::none).equal(t * mask));
  EXPECT_TRUE(random_mask(chances, 9).equal(mask));
  EXPECT_FALSE(random_mask(chances, 10).equal(mask));
}

}  // namespace
}  // namespace quiver::merging
