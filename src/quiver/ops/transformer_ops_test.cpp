// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/transformer_ops.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <functional>

namespace quiver::ops {
namespace {

/// bfloat16 keeps 8 bits: one rounding of the result, and of what ATen stores in between.
double near(at::ScalarType dtype) { return dtype == at::kBFloat16 ? 3.0 / 256 : 2e-6; }

void expect_near(const at::Tensor& a, const at::Tensor& b, double relative) {
  const double largest = b.abs().max().item<double>();
  EXPECT_LT((a.to(at::kDouble) - b).abs().max().item<double>(), relative * largest);
}

/// Value, and gradient of a sum with fixed random weights, against the same formula in float64.
void check(const std::function<at::Tensor(const at::Tensor&)>& op,
           const std::function<at::Tensor(const at::Tensor&)>& formula, at::IntArrayRef shape) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    at::manual_seed(1);
    const auto x = at::randn(shape).to(dtype);
    const auto wide = x.to(at::kDouble).set_requires_grad(true);
    const auto narrow = x.clone().set_requires_grad(true);
    const auto expected = formula(wide);
    const auto out = op(narrow);
    EXPECT_EQ(out.scalar_type(), dtype);
    expect_near(out.detach(), expected.detach(), near(dtype));
    {
      const c10::AutoGradMode no_gradient(false);
      expect_near(op(x), expected.detach(), near(dtype));
    }
    const auto weights = at::randn(out.sizes()).to(dtype);
    (out * weights).sum().backward();
    (expected * weights.to(at::kDouble)).sum().backward();
    expect_near(narrow.grad(), wide.grad(), 4 * near(dtype));
  }
}

TEST(TransformerOps, RmsNormEqualsItsFormulaAndGradient) {
  const auto weight = at::randn({40}).to(at::kBFloat16);
  check([&](const at::Tensor& x) { return rms_norm(x, weight.to(x.scalar_type()), 1e-5); },
        [&](const at::Tensor& x) { return x / (x.pow(2).mean(-1, true) + 1e-5).sqrt() * weight.to(at::kDouble); },
        {37, 40});
}

TEST(TransformerOps, PartRotatedEqualsItsFormulaAndGradient) {
  const auto angles = at::randn({5, 6});
  const auto cosine = angles.cos(), sine = angles.sin();
  check(
      [&](const at::Tensor& x) {
        const auto [q, k, v] = part_rotated(x, 3, cosine, sine);
        return at::cat({v, k, q}, 1);
      },
      [&](const at::Tensor& x) {
        const auto c = cosine.to(at::kDouble).unsqueeze(1), s = sine.to(at::kDouble).unsqueeze(1);
        const auto a = x.narrow(1, 0, 5).narrow(2, 0, 6), b = x.narrow(1, 0, 5).narrow(2, 6, 6);
        const auto turned = at::cat({a * c - b * s, b * c + a * s}, 2);
        return at::cat({x.narrow(1, 5, 2), turned.narrow(1, 3, 2), turned.narrow(1, 0, 3)}, 1);
      },
      {5, 7, 12});
}

TEST(TransformerOps, RotationInFloat32HoldsWhereNoKernelServes) {
  at::manual_seed(4);
  const auto angles = at::randn({5, 6});
  const auto wide = at::randn({5, 7, 12}), narrow = wide.to(at::kBFloat16);
  const auto [q, k, v] = part_rotated(narrow, 3, angles.cos(), angles.sin());
  // Heads that do not lie densely are turned by plain calls.
  const auto strided = narrow.transpose(1, 2).contiguous().transpose(1, 2);
  const auto [other_q, other_k, other_v] = part_rotated(strided, 3, angles.cos(), angles.sin());
  EXPECT_EQ(other_q.scalar_type(), at::kBFloat16);
  // A kernel may fuse a product with its sum, which moves a rounding now and then.
  EXPECT_LE(other_q.ne(q).sum().item<std::int64_t>(), 2);
  EXPECT_LE(other_k.ne(k).sum().item<std::int64_t>(), 2);
}

TEST(TransformerOps, SwigluEqualsItsFormulaAndGradient) {
  check([](const at::Tensor& x) { return swiglu(x); },
        [](const at::Tensor& x) { return at::silu(x.narrow(1, 0, 9)) * x.narrow(1, 9, 9); }, {4, 18});
}

TEST(TransformerOps, FrozenLinearIsTheSameForFewRowsAndMany) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto w = at::randn({130, 40}).to(dtype), b = at::randn({130}).to(dtype);
    for (const std::int64_t rows : {1, 3, 8, 9, 20}) {
      const c10::AutoGradMode no_gradient(false);
      const auto x = at::randn({rows, 40}).to(dtype);
      const auto expected = at::matmul(x.to(at::kDouble), w.to(at::kDouble).t());
      expect_near(frozen_linear(x, w, {}), expected, 2 * near(dtype));
      expect_near(frozen_linear(x, w, b), expected + b.to(at::kDouble), 2 * near(dtype));
    }
  }
}

}  // namespace
}  // namespace quiver::ops
