// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/router_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/training/methods/expert_rows_training.h"

namespace quiver::training {
namespace {

class RouterTraining : public testing::Test {
 protected:
  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
  SilentProgress silent_;
  TrainOptions options_ = [] {
    TrainOptions o;
    o.epochs = 8;
    o.batch_rows = 8;
    o.schedule = Schedule::constant;
    return o;
  }();

  std::shared_ptr<adapter::Bank> bank() const {
    at::manual_seed(2);
    auto out = std::make_shared<adapter::Bank>(model_);
    for (int e = 0; e < 2; ++e) {
      adapter::LoraOptions lora;
      lora.rank = 4;
      auto own = adapter::make_lora(model_, lora, static_cast<std::uint64_t>(e));
      for (auto& [site, f] : own.sites) f.b = at::randn_like(f.b) * 0.3;
      out->add("e" + std::to_string(e), own);
    }
    return out;
  }

  static std::vector<RoutedRow> rows(std::int64_t count) {
    std::vector<RoutedRow> out;
    for (std::int64_t i = 0; i < count; ++i) {
      data::TokenRow row;
      for (std::int32_t t = 0; t < 6; ++t) row.ids.push_back(static_cast<std::int32_t>((i * 5 + t * 11) % 80));
      row.target_begin = 3;
      out.push_back({row, i % 2});
    }
    return out;
  }

  routing::SavedRouter train(const RouterOptions& options, const std::shared_ptr<adapter::Bank>& bank) {
    return train_router({model_, options_, silent_, "test"}, bank, options, "r", rows(16), rows(16));
  }
};

TEST_F(RouterTraining, EveryKindLowersTheLossAndLeavesTheExpertsAlone) {
  using Kind = RouterOptions::Kind;
  for (const auto& [folder, kind] : std::vector<std::pair<const char*, Kind>>{{"llama_untied", Kind::gates},
                                                                              {"llama_untied", Kind::weights},
                                                                              {"llama_untied", Kind::xlora},
                                                                              {"t5/v10", Kind::gates},
                                                                              {"t5/v10", Kind::weights},
                                                                              {"t5/v10", Kind::xlora}}) {
    model_ = model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / folder, at::kFloat);
    const auto experts = bank();
    const auto before = experts->site(0).experts[0].b.clone();
    RouterOptions options;
    options.kind = kind;
    options.learning_rate = kind == Kind::weights ? 0.05 : 0.02;
    const auto saved = train(options, experts);
    EXPECT_LT(saved.training.at("validation_loss").get<double>(),
              saved.training.at("first_validation_loss").get<double>() - 0.02)
        << folder << ' ' << static_cast<int>(kind);
    EXPECT_EQ(saved.experts, experts->names());
    EXPECT_TRUE(experts->site(0).experts[0].b.equal(before));
  }
}

TEST_F(RouterTraining, TheSameSeedTrainsTheSameRouter) {
  RouterOptions options;
  options.gate.kind = routing::GateKind::rkhs;
  const auto first = train(options, bank()), again = train(options, bank());
  for (const auto& [name, values] : first.tensors) EXPECT_TRUE(values.equal(again.tensors.at(name))) << name;
}

TEST_F(RouterTraining, GateLossesByHand) {
  // Two tokens, two experts, shares (3/4, 1/4) and (1/4, 3/4): logits of ln 3.
  const auto l = static_cast<float>(std::log(3.0));
  const auto scores = at::tensor({l, 0.0f, 0.0f, l}).view({2, 2});
  RouterOptions o;
  o.balance = 1.0;
  EXPECT_NEAR(gate_losses(scores, o).item<double>(), 2 * (0.5 * 0.5 + 0.5 * 0.5), 1e-6);
  o.balance = 0.0;
  o.mutual_information = 1.0;
  const double own = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
  EXPECT_NEAR(gate_losses(scores, o).item<double>(), own - std::log(2.0), 1e-6);
  o.mutual_information = 0.0;
  o.z = 1.0;
  EXPECT_NEAR(gate_losses(scores, o).item<double>(), std::pow(std::log(4.0), 2), 1e-5);
}

TEST_F(RouterTraining, GatesOfOneExpertStartAtAHalfAndMove) {
  const auto experts = bank();
  options_.max_steps = 3;
  const auto gates = train_phatgoose_gates({model_, options_, silent_, "gates"}, experts, 0, 1e-2, rows(8));
  EXPECT_GT(gates.flat().abs().sum().item<double>(), 0.0);
  options_.max_steps = 0;
  EXPECT_THROW(train_phatgoose_gates({model_, options_, silent_, "gates"}, experts, 0, 1e-2, {}), Error);
}

TEST_F(RouterTraining, AverageActivationIsTheMeanOverRowsHoweverTheyArePacked) {
  const auto experts = bank();
  const auto own = rows(3);
  std::vector<data::TokenRow> tokens;
  for (const auto& r : own) tokens.push_back(r.row);
  const auto table = average_activation(model_, experts, 0, tokens, {AverageActivationOptions::Token::last, true});
  const auto one = average_activation(model_, experts, 0, {tokens[0]}, {AverageActivationOptions::Token::last, true});
  const auto two = average_activation(model_, experts, 0, {tokens[1]}, {AverageActivationOptions::Token::last, true});
  const auto three = average_activation(model_, experts, 0, {tokens[2]}, {AverageActivationOptions::Token::last, true});
  EXPECT_GT(table.flat().abs().sum().item<double>(), 0.0);
  EXPECT_LT((table.flat() - (one.flat() + two.flat() + three.flat()) / 3).abs().max().item<double>(), 1e-5);
}

}  // namespace
}  // namespace quiver::training
