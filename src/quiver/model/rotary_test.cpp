// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/rotary.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "quiver/base/error.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::model {
namespace {

constexpr std::int64_t kWidth = 16, kHalf = kWidth / 2;
// Half a unit in the last place of a float32, relative to the value.
constexpr double kHalfUlp = 6e-8;

DecoderConfig config_of(const RotaryScaling& scaling = {}) {
  DecoderConfig config;
  config.head_width = kWidth;
  config.rotary_scaling = scaling;
  return config;
}

RotaryScaling scaling_of(RotaryScaling::Kind kind, double factor) {
  RotaryScaling scaling;
  scaling.kind = kind;
  scaling.factor = factor;
  return scaling;
}

/// Frequency i without scaling, from the definition: base^(-2i / width).
double plain_frequency(std::int64_t i, double base = 10000.0, std::int64_t width = kWidth) {
  return std::exp(-std::log(base) * 2.0 * static_cast<double>(i) / static_cast<double>(width));
}

/// x [T, H, kWidth], token t turned as at positions[t].
at::Tensor turned(const RotaryTable& table, const at::Tensor& x, const std::vector<std::int64_t>& positions) {
  const auto angles = table.at_positions(at::tensor(positions, at::kLong));
  const auto other = x.narrow(1, 0, 1);
  return ops::part_rotated(at::cat({x, other, other}, 1), x.size(1), angles.cosine, angles.sine).q;
}

double frequency(const RotaryTable& table, std::int64_t i) { return table.frequencies()[i].item<double>(); }

TEST(Rotary, PositionZeroIsTheIdentity) {
  at::manual_seed(1);
  const auto x = at::randn({2, 3, kWidth});
  const auto out = turned(RotaryTable(config_of()), x, {0, 1});
  EXPECT_TRUE(out[0].equal(x[0]));
  EXPECT_FALSE(out[1].equal(x[1]));
}

TEST(Rotary, TurningKeepsTheNormOfEachPair) {
  at::manual_seed(2);
  const auto x = at::randn({4, 3, kWidth});
  const auto norms = [](const at::Tensor& t) { return t.to(at::kDouble).view({4, 3, 2, kHalf}).pow(2).sum(2); };
  const auto before = norms(x), after = norms(turned(RotaryTable(config_of()), x, {1, 17, 511, 100'000}));
  // cos, sin and three operations are each rounded once; in a sum of two squares that is at most ten half units.
  EXPECT_LT(((after - before) / before).abs().max().item<double>(), 10 * kHalfUlp);
}

TEST(Rotary, ScoresDependOnTheDifferenceOfPositionsOnly) {
  at::manual_seed(3);
  const RotaryTable table(config_of());
  const auto q = at::randn({1, 1, kWidth}), k = at::randn({1, 1, kWidth});
  const auto score = [&](std::int64_t m, std::int64_t n) {
    return (turned(table, q, {m}) * turned(table, k, {n})).sum().item<double>();
  };
  /// q . R((n - m) f) k in float64, with the pairs (i, i + width / 2) of the definition.
  const auto expected = [&](std::int64_t difference) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < kHalf; ++i) {
      const auto entry = [i](const at::Tensor& t, std::int64_t half) { return t[0][0][i + half].item<double>(); };
      const double angle = static_cast<double>(difference) * plain_frequency(i);
      const double first = entry(k, 0) * std::cos(angle) - entry(k, kHalf) * std::sin(angle);
      const double second = entry(k, kHalf) * std::cos(angle) + entry(k, 0) * std::sin(angle);
      sum += entry(q, 0) * first + entry(q, kHalf) * second;
    }
    return sum;
  };
  const double norms = q.norm().item<double>() * k.norm().item<double>();
  for (const std::int64_t difference : {0, 1, 5, -7, 60}) {
    for (const std::int64_t shift : {7, 100, 800}) {
      // The two angles are at most 860, each with a relative error of two half units (frequency and product).
      EXPECT_NEAR(score(shift, shift + difference), expected(difference), 2 * 860 * 2 * kHalfUlp * norms)
          << difference << " from " << shift;
    }
  }
  EXPECT_GT(std::abs(expected(5) - expected(60)), 0.01 * norms) << "or the test could not tell differences apart";
}

/// Llama 3's rule by the number of turns that a frequency makes over the context of pre-training.
double llama3_frequency(double plain, const RotaryScaling& s) {
  const double turns = s.original_positions * plain / (2.0 * std::numbers::pi);
  if (turns >= s.high_frequency_factor) return plain;
  if (turns <= s.low_frequency_factor) return plain / s.factor;
  const double kept = (turns - s.low_frequency_factor) / (s.high_frequency_factor - s.low_frequency_factor);
  return plain * (kept + (1.0 - kept) / s.factor);
}

TEST(Rotary, Llama3ScalingFollowsItsFormula) {
  const auto scaling = scaling_of(RotaryScaling::Kind::llama3, 8.0);
  auto config = config_of(scaling);
  config.head_width = 128;
  config.rotary_base = 500'000.0;
  const RotaryTable table(config);
  int kept = 0, blended = 0, divided = 0;
  for (const std::int64_t i : {0, 10, 28, 29, 30, 32, 34, 35, 40, 63}) {
    const double plain = plain_frequency(i, 500'000.0, 128), expected = llama3_frequency(plain, scaling);
    EXPECT_NEAR(frequency(table, i), expected, 1.1 * kHalfUlp * expected) << "frequency " << i;
    kept += expected == plain;
    divided += expected == plain / 8.0;
    blended += expected < plain && expected > plain / 8.0;
  }
  EXPECT_GE(kept, 2);
  EXPECT_GE(blended, 3);
  EXPECT_GE(divided, 2);
}

TEST(Rotary, LinearScalingStretchesPositions) {
  const RotaryTable plain(config_of()), stretched(config_of(scaling_of(RotaryScaling::Kind::linear, 4.0)));
  const auto a = plain.at_positions(at::tensor({1, 9}, at::kLong));
  const auto b = stretched.at_positions(at::tensor({4, 36}, at::kLong));
  EXPECT_TRUE(a.cosine.equal(b.cosine));  // division by 4 is exact
  EXPECT_TRUE(a.sine.equal(b.sine));
}

TEST(Rotary, DivisorsStandBesideTheFactorAndMustBeAsManyAsTheFrequencies) {
  auto scaling = scaling_of(RotaryScaling::Kind::linear, 4.0);
  scaling.divisors = {1, 2, 3, 4, 5, 6, 7, 8};
  const RotaryTable table(config_of(scaling));
  for (std::int64_t i = 0; i < kHalf; ++i) {
    const double expected = plain_frequency(i) / static_cast<double>(i + 1) / 4.0;
    EXPECT_NEAR(frequency(table, i), expected, 1.1 * kHalfUlp * expected) << i;
  }
  scaling.divisors.pop_back();
  EXPECT_THROW(RotaryTable{config_of(scaling)}, Error);
}

TEST(Rotary, AScaleIsOfCosinesAndSines) {
  auto scaled = scaling_of(RotaryScaling::Kind::none, 1.0);
  scaled.scale = 0.5;
  const auto positions = at::tensor({1, 9}, at::kLong);
  const auto a = RotaryTable(config_of()).at_positions(positions),
             b = RotaryTable(config_of(scaled)).at_positions(positions);
  EXPECT_TRUE((a.cosine * 0.5).equal(b.cosine));
  EXPECT_TRUE((a.sine * 0.5).equal(b.sine));
}

}  // namespace
}  // namespace quiver::model
