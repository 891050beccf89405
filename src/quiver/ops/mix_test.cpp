// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/mix.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace quiver::ops {
namespace {

TEST(TopKMix, OfNoTokensIsEmpty) {
  EXPECT_TRUE(top_k_mix(at::zeros({0, 4}), {}).empty());
  EXPECT_TRUE(top_k_mix(at::zeros({0, 4}).set_requires_grad(true), {.k = 2}).empty());
}

TEST(TopKMix, TheLowerTheTemperatureTheMoreTheBestIsAlone) {
  const auto scores = at::tensor({0.5f, 2.0f, 1.0f, 3.0f, 1.0f, 3.0f}).view({2, 3});
  const auto expected = at::tensor({0.0f, 1.0f, 0.0f, 0.5f, 0.0f, 0.5f}).view({2, 3});
  // From 1e-39 on the reciprocal is no float32; the two best of the second token are equal.
  for (const double temperature : {1e-3, 1e-30, 1e-39, 1e-300}) {
    const auto weights = dense_weights(top_k_mix(scores, {.k = 3, .temperature = temperature}), 3);
    EXPECT_TRUE(weights.equal(expected)) << temperature;
  }
}

}  // namespace
}  // namespace quiver::ops
