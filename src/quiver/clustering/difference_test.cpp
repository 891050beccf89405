// SPDX-License-Identifier: Apache-2.0
// Against the dense products, and on factors whose angles are known.
#include "quiver/clustering/difference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

adapter::Adapter one_site(const ops::LoraFactors& factors) { return {{}, {{"site", factors}}}; }
at::Tensor product(const ops::LoraFactors& f) { return f.scale * at::mm(f.b.to(at::kDouble), f.a.to(at::kDouble)); }
ops::LoraFactors random_factors(std::int64_t rank, double scale) {
  return {at::randn({rank, 12}), at::randn({9, rank}), scale};
}

/// Row `row` is the axis `axis` of the plane's first, turned by `degrees` towards the second.
void set_direction(at::Tensor matrix, std::int64_t row, std::int64_t first, std::int64_t second, double degrees) {
  const double angle = degrees * std::numbers::pi / 180.0;
  matrix[row][first] = std::cos(angle);
  matrix[row][second] = std::sin(angle);
}

// float64 on random factors of condition below 1e3: 1e-9 is far above its rounding.
constexpr double kExact = 1e-9;

TEST(Difference, NormsAndCosineAreThoseOfTheDenseProducts) {
  const auto a = random_factors(3, 0.5), b = random_factors(5, 2.0);
  const auto pa = product(a), pb = product(b);
  const auto found = differences(one_site(a), one_site(b));
  ASSERT_EQ(found.size(), 1u);
  const double na = pa.norm().item<double>(), nb = pb.norm().item<double>();
  EXPECT_NEAR(found[0].norm_a, na, kExact * na);
  EXPECT_NEAR(found[0].norm_b, nb, kExact * nb);
  EXPECT_NEAR(found[0].cosine, (pa * pb).sum().item<double>() / (na * nb), kExact);
}

TEST(Difference, AnglesAreThoseThatWereBuiltIn) {
  auto a = at::zeros({2, 12}), b = at::zeros({2, 12}), out_a = at::zeros({2, 9}), out_b = at::zeros({2, 9});
  set_direction(a, 0, 0, 1, 0);
  set_direction(a, 1, 2, 3, 0);
  set_direction(b, 0, 0, 1, 20);
  set_direction(b, 1, 2, 3, 50);
  set_direction(out_a, 0, 0, 1, 0);
  set_direction(out_a, 1, 2, 3, 0);
  set_direction(out_b, 0, 0, 1, 75);
  set_direction(out_b, 1, 2, 3, 5);
  const auto found = differences(one_site({a, out_a.t(), 3.0}), one_site({b, out_b.t(), 1.0}))[0];
  // The directions are rounded to float32, so each is off by at most 2^-24 rad x sqrt 2: 5e-6 degrees.
  EXPECT_NEAR(found.input_angle, 50.0, 1e-5);
  EXPECT_NEAR(found.output_angle, 75.0, 1e-5);
  // Signs do not matter, and an expert has angle 0 to itself: acos of 1 - 2^-52 is 1e-6 degrees.
  const auto negative = differences(one_site({a, out_a.t(), 3.0}), one_site({-a, out_a.t(), 3.0}))[0];
  EXPECT_NEAR(negative.input_angle, 0.0, 1e-5);
  EXPECT_NEAR(negative.cosine, -1.0, kExact);
}

TEST(Difference, TheGaugeDoesNotMatter) {
  const auto a = random_factors(3, 1.0), b = random_factors(3, 1.0);
  const auto turn = at::randn({3, 3}, at::kDouble);
  const auto turned =
      ops::LoraFactors{at::mm(turn, a.a.to(at::kDouble)), at::mm(a.b.to(at::kDouble), turn.inverse()), 1.0};
  const auto found = differences(one_site(a), one_site(b))[0], other = differences(one_site(turned), one_site(b))[0];
  EXPECT_NEAR(found.cosine, other.cosine, 1e-8);
  EXPECT_NEAR(found.input_angle, other.input_angle, 1e-6);
  EXPECT_NEAR(found.output_angle, other.output_angle, 1e-6);
}

TEST(Difference, OnlyWhatTheProductUsesCounts) {
  // The second row of A is not read by B, so the product reads one direction, which the other expert has.
  auto a = at::zeros({2, 12}), b = at::zeros({9, 2});
  a[0][0] = 1.0, a[1][5] = 1.0, b[3][0] = 1.0;
  auto other = at::zeros({1, 12}), out = at::zeros({9, 1});
  other[0][0] = 2.0, out[3][0] = 1.0;
  const auto found = differences(one_site({a, b, 1.0}), one_site({other, out, 1.0}))[0];
  EXPECT_NEAR(found.input_angle, 0.0, 1e-5);
  EXPECT_NEAR(found.cosine, 1.0, kExact);
  // A space that holds the other is at angle 0 to it.
  b[4][1] = 1.0;
  EXPECT_NEAR(differences(one_site({a, b, 1.0}), one_site({other, out, 1.0}))[0].input_angle, 0.0, 1e-5);
}

TEST(Difference, SitesOfOneExpertAloneAndZeroProductsHaveNoAngles) {
  const auto f = random_factors(2, 1.0);
  const adapter::Adapter a{{}, {{"both", f}, {"first", f}}};
  const adapter::Adapter b{{}, {{"both", {f.a, at::zeros({9, 2}), 1.0}}, {"second", f}}};
  const auto found = differences(a, b);
  ASSERT_EQ(found.size(), 3u);
  for (const auto& site : found) {
    EXPECT_TRUE(std::isnan(site.cosine) && std::isnan(site.input_angle) && std::isnan(site.output_angle)) << site.site;
    EXPECT_EQ(site.norm_a == 0.0, site.site == "second");
    EXPECT_EQ(site.norm_b == 0.0, site.site != "second");
  }
}

TEST(Difference, RanksAboveTheWidthAreFine) {
  const ops::LoraFactors a{at::randn({15, 12}), at::randn({9, 15}), 1.0};
  const auto found = differences(one_site(a), one_site(random_factors(2, 1.0)))[0];
  EXPECT_NEAR(found.norm_a, product(a).norm().item<double>(), kExact * found.norm_a);
  EXPECT_NEAR(found.output_angle, 0.0, 1e-5);  // of full rank, so it holds the other
}

TEST(Difference, ExpertsOfDifferentModelsAreRefused) {
  EXPECT_THROW(differences(one_site(random_factors(2, 1.0)), one_site({at::randn({2, 11}), at::randn({9, 2}), 1.0})),
               Error);
}

}  // namespace
}  // namespace quiver::clustering
