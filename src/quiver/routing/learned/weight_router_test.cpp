// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/weight_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/learned/xlora_router.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

class PlaceWeightsOf : public WithBank {
 protected:
  model::PackedBatch batch_ = model::pack({{std::vector<std::int32_t>{3, 9, 27, 31}, nullptr, true}});

  at::Tensor hidden(const Router& router) const {
    return model_.forward(batch_, bind_once(router, batch_, {Request{}}).get());
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }
};

TEST_F(PlaceWeightsOf, EqualWeightsEverywhereAreAConstantMix) {
  const auto experts = bank({3, 2});
  const ConstantRouter expected(experts, {{0, 0.25f}, {1, -0.5f}});
  for (const auto granularity : {Granularity::model, Granularity::layer, Granularity::site}) {
    const auto rows = places(model_.sites(), granularity);
    const PlaceWeights weights{granularity, false, at::tensor({0.25f, -0.5f}).expand({rows, 2}).contiguous()};
    EXPECT_LT(distance(hidden(WeightRouter(experts, weights, ops::Combine::outputs)), hidden(expected)), 1e-5);
  }
  EXPECT_EQ(places(model_.sites(), Granularity::layer), 2);
  EXPECT_EQ(places(model_.sites(), Granularity::site), 14);
  EXPECT_THROW(WeightRouter(experts, {Granularity::layer, false, at::full({3, 2}, 0.5)}, ops::Combine::outputs), Error);
}

TEST_F(PlaceWeightsOf, MixesThatAreKeptAreThoseThatGradientsReach) {
  const auto experts = bank({3, 2});
  auto values = at::tensor({0.25f, -0.5f, 0.0f, 2.0f}).view({2, 2});
  const auto of = [&] {
    return hidden(WeightRouter(experts, {Granularity::layer, false, values}, ops::Combine::outputs));
  };
  const auto kept = of();
  values = values.clone().set_requires_grad(true);
  EXPECT_LT(distance(of(), kept), 1e-5);
  XLoraNetwork network;
  network.per_site = false;
  network.weights = {at::randn({2, 32})};
  network.biases = {at::zeros({2})};
  const auto one = hidden(XLoraRouter(experts, model_, network));
  network.weights[0] = network.weights[0].clone().set_requires_grad(true);
  EXPECT_LT(distance(hidden(XLoraRouter(experts, model_, network)), one), 1e-5);
}

TEST_F(PlaceWeightsOf, XLoraWithConstantLogitsIsAConstantMixInOnePassAndInTwo) {
  const auto experts = bank({3, 2});
  XLoraNetwork network;
  network.weights = {at::zeros({14 * 2, 32})};
  network.biases = {at::tensor({1.0f, 0.0f}).repeat({14})};
  network.scaling = 0.7;
  const XLoraRouter router(experts, model_, network);
  const auto first = static_cast<float>(1.0 / (1.0 + std::exp(-1.0)));
  const ConstantRouter expected(experts, {{0, 0.7f * first}, {1, 0.7f * (1 - first)}});
  EXPECT_LT(distance(hidden(router), hidden(expected)), 1e-5);
  // With a network that looks at the text: a row read in two portions is a row read at once.
  network.weights = {at::randn({14 * 2, 32})};
  const XLoraRouter reading(experts, model_, network);
  const auto whole = hidden(reading);
  EXPECT_GT(distance(whole, hidden(expected)), 1e-3);
  model::RowCache cache;
  const auto bind = bind_requests(reading, {Request{}});
  const std::vector<std::int32_t> ids{3, 9, 27, 31};
  const auto one = model::pack({{std::span(ids).first(3), &cache, true}});
  model_.forward(one, bind(one, {0}).get());
  const auto two = model::pack({{std::span(ids).subspan(3), &cache, true}});
  EXPECT_LT(distance(model_.forward(two, bind(two, {0}).get())[0], whole[3]), 1e-4);
}

}  // namespace
}  // namespace quiver::routing
