// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/recompute.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

namespace quiver::ops {
namespace {

struct Gradients {
  at::Tensor x, w;
};

/// Two parts in turn that share a weight, with and without keeping their activations.
Gradients gradients(bool again, int* calls) {
  at::manual_seed(3);
  const auto x = at::randn({5, 4}).set_requires_grad(true), w = at::randn({4, 4}).set_requires_grad(true);
  const auto part = [&](const at::Tensor& in) {
    ++*calls;
    return at::tanh(in.matmul(w)) * in;
  };
  auto y = again ? recomputed(part, recomputed(part, x)) : part(part(x));
  (y * y).sum().backward();
  return {x.grad(), w.grad()};
}

TEST(Recomputed, GradientsAreTheSameBitForBit) {
  int plain = 0, again = 0;
  const auto expected = gradients(false, &plain), got = gradients(true, &again);
  EXPECT_TRUE(got.x.equal(expected.x));
  EXPECT_LT((got.w - expected.w).abs().max().item<double>(), 1e-5);  // sums of the two parts in another order
  EXPECT_EQ(plain, 2);
  EXPECT_EQ(again, 4);
}

}  // namespace
}  // namespace quiver::ops
