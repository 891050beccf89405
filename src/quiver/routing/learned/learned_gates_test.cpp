// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/learned_gates.h"

#include <ATen/TensorOperators.h>

#include "quiver/base/error.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

using LearnedGates = WithBank;

TEST_F(LearnedGates, ProductKeysScoreAnExpertByTheSumOfItsTwoHalves) {
  const GateShape shape{GateKind::product_keys, 5, 0};
  const auto weights = fresh_gates(model_.sites(), 9, shape, 1);
  const auto table = gate_table(model_.sites(), 9, shape, weights);
  // The second site's own projections [2, 5, 32] and keys [2, 3, 5], by hand.
  const auto h = weights.at("inputs").narrow(0, 2 * 5 * 32, 2 * 5 * 32).view({2, 5, 32});
  const auto keys = weights.at("keys").view({-1, 2, 3, 5})[1];
  const auto x = at::randn({32});
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      const auto expected = h[0].matmul(x).dot(keys[0][i]) + h[1].matmul(x).dot(keys[1][j]);
      EXPECT_NEAR(table.site(1)[3 * i + j].dot(x).item<double>(), expected.item<double>(), 1e-4);
    }
  }
  EXPECT_THROW(fresh_gates(model_.sites(), 8, shape, 1), Error) << "eight experts are no square";
}

TEST_F(LearnedGates, RkhsGatesMeetInTheCommonSpace) {
  const GateShape shape{GateKind::rkhs, 6, 4};
  const auto weights = fresh_gates(model_.sites(), 3, shape, 2);
  const auto table = gate_table(model_.sites(), 3, shape, weights);
  const auto sites = static_cast<std::int64_t>(model_.sites().size());
  const auto h = weights.at("inputs").narrow(0, 0, 6 * 32).view({6, 32});
  const auto w = weights.at("experts").view({sites, 6, 4})[0], e = weights.at("embeddings").view({sites, 3, 4})[0];
  const auto x = at::randn({32});
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto expected = h.matmul(x).dot(w.matmul(e[i]));
    EXPECT_NEAR(table.site(0)[i].dot(x).item<double>(), expected.item<double>(), 1e-5);
  }
  table.site(0).sum().backward();
  for (const auto& [name, values] : weights) EXPECT_GT(values.grad().abs().sum().item<double>(), 0) << name;
}

}  // namespace
}  // namespace quiver::routing
