// SPDX-License-Identifier: Apache-2.0
// What DoRA comes to beside a base bias and an adapter's own scale and bias; by forming W + s B A.
#include "quiver/adapter/derived.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

class Dora : public testing::Test {
 protected:
  Dora() {
    adapter_.sites["q"] = {a_, b_, 1.5};
    adapter_.stored["q"][".lora_magnitude_vector"] = magnitude_;
  }
  /// The site under the adapter as it is applied: scale, then bias, of the base model's output with the factors'.
  at::Tensor output() const {
    const auto out = applied(adapter_, sites_, "test");
    const auto& f = out.sites.at("q");
    const auto& e = out.extras.at("q");
    const auto y = at::linear(x_, sites_[0].weight, sites_[0].bias) + at::linear(at::linear(x_, f.a), f.b) * f.scale;
    return y * e.output_scale + e.bias;
  }
  at::Tensor expected() const {
    const auto whole = sites_[0].weight + b_.matmul(a_) * 1.5;
    return at::linear(x_, magnitude_.unsqueeze(1) * whole / whole.square().sum(1, true).sqrt()) + sites_[0].bias;
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

  at::Tensor a_ = at::randn({2, 6}), b_ = at::randn({4, 2}), magnitude_ = at::randn({4}), x_ = at::randn({3, 6});
  std::vector<model::Site> sites_{{"q", 6, 4, 0, 0, model::Role::query, at::randn({4, 6}), at::randn({4})}};
  Adapter adapter_;
};

TEST_F(Dora, KeepsTheBaseBias) { EXPECT_LT(distance(output(), expected()), 1e-5); }

TEST_F(Dora, ComesBeforeTheAdaptersOwnScaleAndBias) {
  const auto scale = at::randn({4}), bias = at::randn({4});
  adapter_.extras["q"].output_scale = scale;
  adapter_.extras["q"].bias = bias;
  EXPECT_LT(distance(output(), expected() * scale + bias), 1e-5);
}

TEST_F(Dora, NeedsItsFactorsAndAKnownSite) {
  adapter_.sites.clear();
  EXPECT_THROW(applied(adapter_, sites_, "test"), Error);
  adapter_.stored["k"] = adapter_.stored["q"];
  adapter_.stored.erase("q");
  EXPECT_THROW(applied(adapter_, sites_, "test"), Error);
}

}  // namespace
}  // namespace quiver::adapter
