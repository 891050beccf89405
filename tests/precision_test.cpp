// SPDX-License-Identifier: Apache-2.0
// bfloat16 against float32, and recomputed against kept activations, over a whole model.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/adapter/bank.h"
#include "quiver/model/load.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver {
namespace {

fs::path small_model() { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied"; }

data::TokenRow row(std::int32_t first, std::size_t length) {
  data::TokenRow out;
  for (std::size_t t = 0; t < length; ++t) out.ids.push_back(static_cast<std::int32_t>((first + 7 * t) % 60));
  out.target_begin = 3;
  return out;
}

struct Step {
  double loss = 0.0;
  at::Tensor logits, gradient;
};

/// Loss, logits and the adapters' gradients of two rows.
Step step(at::ScalarType dtype, model::Activations activations) {
  const auto model = model::load_model(small_model(), dtype);
  adapter::LoraOptions lora;
  lora.rank = 4;
  auto own = adapter::make_lora(model, lora, 5);
  at::manual_seed(1);
  for (auto& [site, f] : own.sites) {
    f.b = at::randn_like(f.b) * 0.05;
    f.a.set_requires_grad(true);
    f.b.set_requires_grad(true);
  }
  auto bank = std::make_shared<adapter::Bank>(model);
  bank->add("own", own);
  const std::vector<data::TokenRow> rows{row(1, 9), row(20, 14)};
  const std::vector<training::WeightedRow> weighted{{&rows[0], 0.05}, {&rows[1], 0.05}};
  const auto bind = training::bind_training_rows(bank, std::vector<training::TrainingRow>(2), 0.0);
  const auto pass = model::answer_pass(model, training::answer_rows(weighted), bind, activations);
  const auto loss = training::weighted_loss(model, pass.hidden, weighted);
  loss.backward();
  Step out{loss.item<double>(), model.logits(pass.hidden.detach()), {}};
  std::vector<at::Tensor> parts;
  for (const auto& [site, f] : own.sites) {
    parts.push_back(f.a.grad().to(at::kDouble).reshape({-1}));
    parts.push_back(f.b.grad().to(at::kDouble).reshape({-1}));
  }
  out.gradient = at::cat(parts, 0);
  return out;
}

TEST(Precision, Bfloat16StaysWithinItsRoundingsOfFloat32) {
  const auto exact = step(at::kFloat, model::Activations::keep),
             rounded = step(at::kBFloat16, model::Activations::keep);
  // A rounding to 8 bits errs by 2^-9 on average; some ten of them follow one another in each of the two layers and add
  // up like a random walk; the largest of a thousand logits lies four such errors out.
  const double walk = std::sqrt(20.0) / 512.0;
  const auto spread = (exact.logits.max() - exact.logits.min()).item<double>();
  EXPECT_LT((rounded.logits - exact.logits).abs().max().item<double>() / spread, 4 * walk);
  EXPECT_NEAR(rounded.loss, exact.loss, walk * exact.loss);
  const double cosine = (exact.gradient * rounded.gradient).sum().item<double>() /
                        (exact.gradient.norm() * rounded.gradient.norm()).item<double>();
  // The gradient passes as many roundings again on its way back and is a product of both ways: a tenth of its length.
  EXPECT_GT(cosine, 1 - 0.1 * 0.1 / 2);
}

TEST(Precision, RecomputedActivationsChangeNothing) {
  const auto kept = step(at::kFloat, model::Activations::keep), again = step(at::kFloat, model::Activations::recompute);
  // The forward pass without gradients runs on kernels that sum in another order: a few float32 roundings.
  EXPECT_NEAR(again.loss, kept.loss, 1e-5 * kept.loss);
  EXPECT_LT((again.gradient - kept.gradient).abs().max().item<double>(),
            1e-5 * kept.gradient.abs().max().item<double>());
}

}  // namespace
}  // namespace quiver
